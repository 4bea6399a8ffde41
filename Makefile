# `make demo`, `make check` while working, `make test` before a commit. All make their own environments.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
FRAMEWORKS := .venv-frameworks
LOWEST := .venv-lowest
# Which torch `make lowest` takes. The lowest is torch==2.8.0, gigabytes of CUDA where no index has it for the CPU.
TORCH ?= --constraint constraints.txt torch
# How long `make fuzz` tries each kind of files, and with which seed; all kinds if KINDS names none.
MINUTES ?= 3
SEED ?= 0
# What `make gpu-bench` measures beside generated data: a folder with TikTok, and a checkout of MMRec. Both are optional.
DATA ?=
TOOLKIT ?=
GPU_BENCH = $(PYTHON) benchmarks/training.py --device cuda --threads 4 $(if $(TOOLKIT),--toolkit $(TOOLKIT))
# What `make check` runs.
FAST := not (slow or spark or frameworks or browser or notebook or data)
# Tests run in a few processes, with one thread each.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
PARALLEL := -q -n auto --maxprocesses 4 --dist loadfile

export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo check test campaign fuzz spark frameworks lowest gpu-bench lint docs dist smoke clean

demo: $(INSTALLED)  ## the main job on real data: random start against SG-URInit
	$(BIN)/sgurinit demo --out demo-out

check: lint  ## style, types and the fast tests
	$(ONE_THREAD) $(BIN)/pytest $(PARALLEL) --ignore tests/spark --ignore tests/campaign -m "$(FAST)" --hypothesis-profile fast

test: lint docs  ## style, types, documents and all tests except those of the two targets below
	$(ONE_THREAD) $(BIN)/pytest $(PARALLEL) --ignore tests/spark --ignore tests/campaign

campaign: $(INSTALLED)  ## kills, full disks and damaged files; minutes, more with SGURINIT_CAMPAIGN_MINUTES
	$(BIN)/pytest -q -n auto --maxprocesses 2 tests/campaign

fuzz: $(INSTALLED)  ## damaged files alone, for MINUTES of each kind, with another SEED; what went wrong is in fuzz-out/
	$(BIN)/python tests/helpers/fuzz.py --minutes $(MINUTES) --seed $(SEED) $(KINDS)

spark: $(INSTALLED)  ## the tests on Spark, a cluster of two workers among them; minutes, and Java 17
	$(BIN)/pytest tests/spark

frameworks: $(INSTALLED) $(FRAMEWORKS)/.installed  ## the tests against other frameworks, in their own environment
	$(FRAMEWORKS)/bin/python -m pytest tests/integrations
	SGURINIT_FRAMEWORKS=$(abspath $(FRAMEWORKS))/bin/python $(BIN)/pytest tests/data/test_frameworks.py
	PYTHONPATH=$(FRAMEWORKS)/images $(BIN)/pytest tests/data/test_timm_encoder.py

lowest: $(LOWEST)/.installed  ## fast tests with the lowest versions that pyproject.toml allows, in their own environment
	$(ONE_THREAD) $(LOWEST)/bin/python -m pytest $(PARALLEL) -m "$(FAST)" tests/core tests/data/test_shipped.py \
		tests/data/test_prepare.py tests/data/test_convert.py tests/data/test_item_vectors.py tests/models/test_zoo.py \
		tests/models/test_bprmf.py tests/training tests/test_handover.py tests/test_arms.py tests/test_cli.py \
		tests/test_package.py

# The steps have ten minutes together. One that runs out of time leaves the rows that it has.
gpu-bench:  ## times on a CUDA device, in gpu-out/, by a PYTHON that has torch and the library; DATA=, TOOLKIT=
	mkdir -p gpu-out
	-timeout 180 $(GPU_BENCH) --size million --epochs 2 --steps 500 --users 200000 --jobs 4 --out gpu-out/million.csv
	-timeout 140 $(GPU_BENCH) --size baby --epochs 4 --jobs 8 --out gpu-out/baby.csv
	$(if $(DATA),-timeout 230 $(GPU_BENCH) $(DATA) --epochs 4 --jobs 8 --out gpu-out/tiktok.csv)
	-timeout 40 $(PYTHON) benchmarks/spmm.py --device cuda --size million > gpu-out/spmm.jsonl

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(INSTALLED)  ## the site, in site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

dist: $(INSTALLED)  ## the source distribution and the wheel, in dist/, checked as the package index checks them
	rm -rf dist
	$(BIN)/python tools/make_dist.py dist
	$(BIN)/twine check --strict dist/*

smoke: dist  ## both distributions installed in empty environments, lowest and newest versions, and used
	$(BIN)/python tools/smoke.py dist

# In each environment torch comes first, by pip, whose configuration says where a torch without CUDA is.
# uv installs the rest, in half the time that pip takes, bytecode included.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python .venv --constraint constraints.txt --editable '.[dev]'
	touch $@

# RecBole's dependencies ask for an older pandas than the other tests use. timm has its own folder, because
# the torchvision that it needs may be built for another torch, and then every program that finds it fails.
$(FRAMEWORKS)/.installed: pyproject.toml constraints.txt frameworks.txt | $(INSTALLED)
	$(PYTHON) -m venv $(FRAMEWORKS)
	$(FRAMEWORKS)/bin/python -m pip install --quiet --constraint frameworks.txt torch
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(FRAMEWORKS) --constraint frameworks.txt \
		--editable '.[cornac,faiss,implicit,lenskit,pyg,recbole,transformers,usearch]' freerec torchdata pytest
	$(FRAMEWORKS)/bin/python -m pip install --quiet --constraint constraints.txt --no-deps \
		--target $(FRAMEWORKS)/images timm torchvision
	touch $@

$(LOWEST)/.installed: pyproject.toml constraints.txt | $(INSTALLED)
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --no-deps $(TORCH)
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(LOWEST) --resolution lowest-direct --editable '.[datasets,faiss,tensorboard,test,train]'
	touch $@

clean:
	rm -rf .venv .venv-frameworks .venv-lowest demo-out dist fuzz-out site
