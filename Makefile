# Two commands: `make demo` and `make test`. Both make their own virtual environment.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
FRAMEWORKS := .venv-frameworks
LOWEST := .venv-lowest
# Which torch `make lowest` takes. The lowest is torch==2.8.0, gigabytes of CUDA where no index has it for the CPU.
TORCH ?= --constraint constraints.txt torch

export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo test spark frameworks lowest lint docs dist clean

demo: $(INSTALLED)  ## the main job on real data: random start against SG-URInit
	$(BIN)/sgurinit demo --out demo-out

test: $(INSTALLED) lint docs  ## style, types, documents, tests
	$(BIN)/pytest --ignore tests/spark

spark: $(INSTALLED)  ## the tests on Spark, a cluster of two workers among them; minutes, and Java 17
	$(BIN)/pytest tests/spark

frameworks: $(INSTALLED) $(FRAMEWORKS)/.installed  ## the tests against other people's frameworks, in a venv of their own
	$(FRAMEWORKS)/bin/python -m pytest tests/integrations
	SGURINIT_FRAMEWORKS=$(abspath $(FRAMEWORKS))/bin/python $(BIN)/pytest tests/data/test_frameworks.py
	PYTHONPATH=$(FRAMEWORKS)/images $(BIN)/pytest tests/data/test_timm.py

lowest: $(LOWEST)/.installed  ## tests with the lowest versions that pyproject.toml allows, in a venv of their own
	$(LOWEST)/bin/python -m pytest -q tests/core tests/data/test_shipped.py tests/data/test_prepare.py \
		tests/data/test_convert.py tests/data/test_vectors.py tests/models/test_zoo.py tests/models/test_bprmf.py \
		tests/training tests/test_handover.py tests/test_arms.py tests/test_cli.py tests/test_package.py

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

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# What RecBole brings asks for older pandas than ours. timm stands apart, for the torchvision that it
# needs may be built for another torch than the one here, and then breaks all that find it.
$(FRAMEWORKS)/.installed: pyproject.toml constraints.txt frameworks.txt
	$(PYTHON) -m venv $(FRAMEWORKS)
	$(FRAMEWORKS)/bin/python -m pip install --quiet --constraint frameworks.txt \
		--editable '.[cornac,faiss,implicit,lenskit,pyg,recbole,transformers,usearch]' freerec torchdata pytest
	$(FRAMEWORKS)/bin/python -m pip install --quiet --constraint constraints.txt --no-deps \
		--target $(FRAMEWORKS)/images timm torchvision
	touch $@

# Before the others, and alone: what torch brings would come as new as there is.
$(LOWEST)/.installed: pyproject.toml constraints.txt | $(INSTALLED)
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --no-deps $(TORCH)
	$(BIN)/uv pip install --quiet --python $(LOWEST) --resolution lowest-direct --editable '.[datasets,faiss,tensorboard,test,train]'
	touch $@

clean:
	rm -rf .venv .venv-frameworks .venv-lowest demo-out dist site
