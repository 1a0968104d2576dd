# sor: the extension is built by PGXS alone; CMake builds the driver and the unit tests.
#   make            library, install script and driver (build/sor)
#   make install    all three, into the PostgreSQL that PG_CONFIG names
#   make installcheck   pg_regress and isolation specs against a running server
#   make test, make demo, make bench: scripts/*.mk

EXTENSION = extension/sor
EXTVERSION = $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" extension/sor.control)
MODULE_big = sor
MODULES_IN_ORDER = $(shell grep -v '^\#' extension/install.list)
SOURCES = $(wildcard extension/*.cpp extension/bridge/*.cpp $(foreach m,$(MODULES_IN_ORDER),extension/$(m)/*.cpp))
OBJS = $(SOURCES:.cpp=.o)
DATA_built = extension/sor--$(EXTVERSION).sql
DATA = $(wildcard extension/upgrade/sor--*--*.sql)
SCRIPTS_built = build/sor

REGRESS = $(sort $(patsubst sql/%.sql,%,$(wildcard sql/*.sql)))
ISOLATION = $(sort $(patsubst extension/specs/%.spec,%,$(wildcard extension/specs/*.spec)))
ISOLATION_OPTS = --inputdir=extension

PG_CONFIG ?= pg_config
# -isystem: the server's headers are not ours to warn about
PG_CPPFLAGS = -isystem $(shell $(PG_CONFIG) --includedir-server) -Iextension -MMD -MP
PG_CXXFLAGS = -std=c++20 -fvisibility=hidden -Wall -Wextra -Wshadow $(if $(CI),-Werror)
SHLIB_LINK = -lstdc++
EXTRA_CLEAN = $(DATA_built) $(OBJS:.o=.d) build

# the bitcode rule of PGXS ignores PG_CXXFLAGS
override with_llvm = no
PGXS := $(shell $(PG_CONFIG) --pgxs)
ifeq ($(PGXS),)
$(info no pg_config: only the targets that install it can run)
else
include $(PGXS)
endif

-include $(OBJS:.o=.d)

$(DATA_built): extension/install.list extension/sor.control $(foreach m,$(MODULES_IN_ORDER),extension/$(m)/$(m).sql)
	{ printf '%s\n' '\echo Use "CREATE EXTENSION sor" to load this file. \quit'; \
	  cat $(foreach m,$(MODULES_IN_ORDER),extension/$(m)/$(m).sql); } > $@.tmp && mv $@.tmp $@

all: build/sor
.PHONY: build/sor
build/sor:
	@cmake -S . -B build -DCMAKE_BUILD_TYPE=RelWithDebInfo > build.log 2>&1 || { cat build.log; rm -f build.log; exit 1; }; rm -f build.log
	@cmake --build build --target sor

include $(sort $(wildcard scripts/*.mk))
