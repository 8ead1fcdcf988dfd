# Each target makes its own virtual environment and installs what it needs, once; nothing has to be done before.
#
#   make demo         see it work: simulated traffic with faults, annotated, with a report (demo-output/)
#   make test         the tests, with a real Zipkin and a real Kafka where Java and Maven are there
#   make test-peers   the tests that need PyTorch, a real Collector and a real Jaeger (Go; the first build takes minutes), and Zipkin's page in Chromium
#   make lint         ruff and mypy
#   make fuzz         fuzz everything that reads bytes from outside, for ten minutes (FUZZ_SECONDS=600; docs/fuzzing.md)
#   make bench        what it costs, beside other stages, and the targets (docs/results/); half an hour
#   make bench-check  whether a span has become dearer than it was, in a minute
#   make flame        flame graphs of the stage under load (docs/results/flames/)
#   make soak         an hour under load with faults at random (docs/results/soak.txt); SOAK="--minutes 10" for other options
#   make bench-gpu    scoring and training on CUDA, on a machine that has it (docs/gpu.md)
#   make model        train the bundled model anew (model_artifacts/shop)
#   make evaluate     the paper's experiments, the targets and the ablation, into docs/results/ (hours)
#   make first-steps  do what docs/first-steps.md says in a fresh clone, timed, into docs/results/first-steps.txt
#   make screenshots  take the pictures of Zipkin's page again (docs/images/)
#   make sbom         what the package brings along, as CycloneDX (dist/sbom.cdx.json)
#   make audit        known vulnerabilities of what is pinned, and a review of the lock (docs/results/audit.txt)
#   make peers        install or build the real neighbours into a cache
#   make clean        remove what these targets made, but for the cache of peers

PYTHON ?= python3
VENV ?= .venv
PYTEST_FLAGS ?=
# Real traces, which are no part of the project.
TRACEAD_DATA ?= ../shared/data
export TRACEAD_DATA
BENCH_MODEL := $(if $(wildcard $(TRACEAD_DATA)/online_boutique),build/online-boutique/manifest.json)

BIN := $(VENV)/bin
LOCKED := pyproject.toml constraints.txt
# Also for the isolated environment that builds the package: older pips read the first name, newer ones the second.
PIP := PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
	$(BIN)/python -m pip --quiet --disable-pip-version-check --no-input install --editable

.DEFAULT_GOAL := help
.PHONY: help demo test test-peers lint fuzz bench bench-check bench-model flame soak bench-gpu model evaluate evaluate-real first-steps screenshots sbom audit peers clean
.DELETE_ON_ERROR:
.NOTPARALLEL:

help:
	@sed -n '3,20s/^#   //p' Makefile

demo: $(VENV)/.runtime
	$(BIN)/otel-tracead demo

test: $(VENV)/.dev
	@$(BIN)/python -m tools.peers install zipkin kafka
	$(BIN)/python -m pytest -n 2 -m "not peers and not train" $(PYTEST_FLAGS)

test-peers: $(VENV)/.train $(VENV)/.browser peers
	$(BIN)/python -m pytest -m "peers or train" $(PYTEST_FLAGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --strict -p tools.peers -p benchmarks -p fuzz

# In all; a target gets its share. FUZZ="--jobs 2 otlp_json spans" for other options of `python -m fuzz`.
FUZZ_SECONDS ?= 600
FUZZ ?=

fuzz: $(VENV)/.fuzz
	$(BIN)/python -m fuzz --seconds $(FUZZ_SECONDS) $(FUZZ)

bench: $(VENV)/.dev $(BENCH_MODEL)
	@$(BIN)/python -m tools.peers install rotel otelcol
	$(BIN)/python -m benchmarks

bench-check: $(VENV)/.dev
	@$(BIN)/python -m tools.peers install otelcol
	$(BIN)/python -m benchmarks.regression

# Of the real traces, where they are; else the benchmarks take the simulated shop and the bundled model. Trained once; `make
# bench-model` trains it anew. It takes PyTorch, which only this needs.
build/online-boutique/manifest.json:
	@$(MAKE) --no-print-directory bench-model

bench-model: $(VENV)/.train
	$(BIN)/python -m benchmarks.training

flame: $(VENV)/.dev $(BENCH_MODEL)
	$(BIN)/python -m benchmarks.flames

SOAK ?=

soak: $(VENV)/.dev
	$(BIN)/python -m benchmarks.endurance soak $(SOAK)

bench-gpu: $(VENV)/.train $(VENV)/.cuda
	$(BIN)/python -m benchmarks.gpu

peers: $(VENV)/.dev
	@$(BIN)/python -m tools.peers install

# Eight minutes each of a quiet, an ordinary and the busiest hour, without faults.
MODEL_HOURS := 03 09 14

model: $(VENV)/.train
	rm -rf build/shop && mkdir -p build/shop
	for hour in $(MODEL_HOURS); do \
		$(BIN)/otel-tracead generate --start 2026-01-05T$$hour:00:00Z --duration 8m --seed 1$$hour \
			--output build/shop/$$hour.jsonl.zst || exit; \
	done
	$(BIN)/otel-tracead train --input build/shop --output model_artifacts/shop

# Of the real traces beside the checkout, if they are there; a whole run on simulated traffic takes hours: `EVALUATE=`.
EVALUATE ?= --fast

evaluate: $(VENV)/.train
	$(BIN)/otel-tracead evaluate $(EVALUATE) --output docs/results/evaluate-shop
	@test -d "$(TRACEAD_DATA)" || echo "No real traces in $(TRACEAD_DATA) (TRACEAD_DATA): the rest is left out."
	@test ! -d "$(TRACEAD_DATA)" || $(MAKE) --no-print-directory evaluate-real

evaluate-real: $(VENV)/.train
	for system in online_boutique train_ticket; do \
		$(BIN)/python -m benchmarks.normal_traces $$system build/$$system.jsonl.zst || exit; \
		$(BIN)/otel-tracead evaluate $(EVALUATE) --input build/$$system.jsonl.zst --output docs/results/evaluate-$$system || exit; \
	done
	$(BIN)/python -m benchmarks.targets
	$(BIN)/python -m benchmarks.ablation
	$(BIN)/python -m benchmarks.root_causes

first-steps: $(VENV)/.browser
	$(BIN)/python -m tools.first_steps

screenshots: $(VENV)/.browser
	@$(BIN)/python -m tools.peers install zipkin
	$(BIN)/python -m tools.screenshots

# Of what `pip install otel-tracead` brings, installed on its own: with the platform and the day of the build in it, so it is made and
# published with a release, and not kept in the repository.
sbom: $(VENV)/.audit
	@rm -rf build/sbom && mkdir -p build dist && $(PYTHON) -m venv --without-pip build/sbom
	@PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt $(BIN)/python -m pip --quiet --disable-pip-version-check \
		--no-input --python build/sbom/bin/python install .
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --of JSON --validate \
		-o dist/sbom.cdx.json build/sbom/bin/python

audit: $(VENV)/.dev $(VENV)/.audit
	$(BIN)/python -m tools.audit

clean:
	rm -rf $(VENV) build dist demo-output .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*

# A stamp says what an environment holds; it is older than pyproject.toml or constraints.txt when that has changed.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("otel-tracead needs Python 3.11 or newer and \
	$(PYTHON) is %d.%d; try: make PYTHON=python3.12" % v[:2])'
	@echo "Making $(VENV) and installing into it, once."
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.runtime: $(VENV)/.made $(LOCKED)
	@$(PIP) .
	@touch $@

$(VENV)/.dev: $(VENV)/.made $(LOCKED)
	@$(PIP) '.[dev]'
	@touch $@ $(VENV)/.runtime

$(VENV)/.train: $(VENV)/.made $(LOCKED)
	@echo "Installing PyTorch: about 3 GB, two minutes."
	@$(PIP) '.[dev,train]'
	@touch $@ $(VENV)/.runtime $(VENV)/.dev

# Where atheris has no wheel, `python -m fuzz` says so; building it takes Clang.
$(VENV)/.fuzz: $(VENV)/.dev $(LOCKED)
	@$(PIP) '.[dev,fuzz]' --only-binary atheris || true
	@touch $@

$(VENV)/.audit: $(VENV)/.made $(LOCKED)
	@$(PIP) '.[audit]'
	@touch $@ $(VENV)/.runtime

$(VENV)/.cuda: $(VENV)/.made $(LOCKED)
	@$(PIP) '.[cuda]'
	@touch $@ $(VENV)/.runtime

$(VENV)/.browser: $(VENV)/.dev $(LOCKED)
	@$(PIP) '.[browser]'
	@touch $@
