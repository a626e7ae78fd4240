"""From the outbox to the world: packets of alerts, and where they go.

``content``
    What alerts say, read set-wise from the database: by ids and versions only, so that it is the same for ever.
``cutouts``
    The archive of cutouts: cut once, at the first build, and kept as long as the alerts.
``avro``, ``voevent``
    The two formats.
``transports``
    VTP, Kafka, webhook, e-mail and files.
``publish``, ``worker``
    What takes alerts from the outbox and sees them delivered: a publisher, and its worker for each destination.
"""
