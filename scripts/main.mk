# Targets that set up their own machine; each works without pg_config, which the first line of its recipe installs.
# Variables of the command line reach the scripts through the environment.
.PHONY: test demo demo-psql demo-drill demo-stop bench

test:
	@scripts/install-packages test
	@scripts/install-node-packages || [ $$? = 69 ]
	@scripts/test

# make demo [STATEMENT=FILE.csv] [TENANT_COLUMN=COLUMN]
demo:
	@scripts/install-packages demo
	@scripts/demo start

# make -s demo-psql SQL='SELECT …'
demo-psql:
	@scripts/demo psql "$$SQL"

# make -s demo-drill OUT=DIR [SABOTAGE=NAME|all]
demo-drill:
	@scripts/demo drill "$$OUT" "$$SABOTAGE"

demo-stop:
	@scripts/demo stop

bench:
	@scripts/install-packages bench
	@bench/run
	@bench/mcp --no-build
	@bench/metrics --no-build --rows 1000,100000
	@bench/migrations --no-build
	@bench/forensics --no-build
