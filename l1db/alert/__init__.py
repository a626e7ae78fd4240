"""From the outbox to the world: packets of alerts, and where they go.

``content``
    What alerts say, read set-wise from the database: by ids and versions only, so that it is the same for ever.
``cutouts``
    The archive of cutouts: cut once, at the first build, and kept as long as the alerts.
``avro``, ``voevent``
    The two formats.
``transports``
    VTP, Kafka, webhook, e-mail and files.
``publish``
    The workers that take alerts from the outbox and see them delivered.
"""
