# l1db: two commands do all.  `make demo` shows a night, `make test` runs the tests; both set up first what is missing.

.PHONY: help ready setup demo test check psql stop clean

help:
	@echo "make demo    set up, then run three small nights  (ALERTS=DIR: real alert packets instead)"
	@echo "make test    set up, then run the tests           (ARGS='-k name': passed to pytest)"
	@echo "make setup   packages, .venv, a private server, the database; L1DB_DSN=... uses that server instead"
	@echo "make psql    a psql on the database"
	@echo "make check   linters and types"
	@echo "make stop    stop the private server              (make setup starts it again)"
	@echo "make clean   stop it, remove its data and .venv"

ready:
	@sh scripts/setup.sh

setup: ready
	@echo "l1db: ready.  Go on with:  make demo  |  make test  |  make psql"

demo: ready
	.venv/bin/l1db demo $(if $(ALERTS),--alerts '$(ALERTS)')

test: ready
	.venv/bin/pytest $(ARGS)

check: ready
	.venv/bin/ruff check .
	.venv/bin/mypy
	@if command -v shellcheck >/dev/null; then shellcheck -x scripts/*.sh docker/*.sh; fi

psql: ready
	.venv/bin/l1db psql

stop:
	@sh scripts/server.sh stop

clean:
	@sh scripts/server.sh remove
	rm -rf .venv
