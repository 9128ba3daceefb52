# What a person does here, one target each (`make help` lists them). Whatever needs .venv makes it first.
#
#   EXP=      an experiment: a name in experiments/, or a file     make train EXP=sex_clf
#   RUN=      a run: EXP/NAME, EXP/latest or a folder              make evaluate RUN=sex_clf/latest
#   LABELS=   a labels.csv in place of the experiment's own        make train EXP=sex_clf LABELS=my/labels.csv
#   ARGS=     whatever else the command takes                      make train EXP=sex_clf ARGS="--set training.epochs=3"
#   EXTRAS=   gpu: the CUDA libraries too; .venv remembers it      make setup EXTRAS=gpu
#   PYTHON=   what .venv is made with, 3.11 to 3.13; to change it later, `make clean` first
#   SITE=     the cluster, a file of sge/sites/ [comic]            make push SITE=myriad
#   GPUS=     of `make interactive` [1]
#   WEIGHTS=  1: `make sync` fetches models and checkpoints too; WATCH=60: again each minute, until Ctrl-C
#   BOARD=    the port of `make tensorboard`, on this machine only [6006]
#
# What is always the same for you can stand in sge/user.mk as lines `NAME = value`, which git ignores: PYTHON, SITE, and of
# the cluster LOGIN (your name there); HOST, JUMP, PORT, REMOTE (the folder of the code there), REMOTE_RUNS, SSH_CONFIG
# where they differ from the site's.
# make says 2 for every failure; a script that wants the program's own exit codes calls .venv/bin/tfmri.

SHELL := /bin/bash
.DEFAULT_GOAL := help
-include sge/user.mk

BOARD ?= 6006
GPUS ?= 1
EXTRAS ?= $(patsubst .venv/installed-%,%,$(wildcard .venv/installed-*))
REQUIREMENTS := requirements$(EXTRAS:%=-%).txt
INSTALLED := .venv/installed$(EXTRAS:%=-%)

# $(call need,NAME,value,TARGETS): one of TARGETS without NAME= stops here, with one sentence, before anything is set up.
need = $(if $(filter $3,$(MAKECMDGOALS)),$(if $(strip $($1)),,\
    $(error $1= is missing, for example: make $(firstword $(filter $3,$(MAKECMDGOALS))) $1=$2)))
$(call need,EXP,sex_clf,train prepare preview check submit $(if $(RUN),,evaluate))
$(call need,BENCH,throughput,bench)

experiment = '$(EXP)'$(if $(LABELS), --set 'data.labels=$(LABELS)')
latest = '$(patsubst %.yaml,%,$(patsubst %.yml,%,$(notdir $(EXP))))/latest'

##  Setting up

.PHONY: setup
setup: $(INSTALLED)  ## make .venv with this package and the exact versions of requirements.txt
	@echo "Ready. Next: make train EXP=sex_clf"

# Takes the first Python that runs, has a version that fits, and has venv.
define MAKE_VENV
for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do
    version=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2> /dev/null) || continue
    case $$version in 3.11 | 3.12 | 3.13) ;; *) found+="; $$python is $$version"; continue ;; esac
    "$$python" -c 'import ensurepip, venv' 2> /dev/null || { no_venv=$$version; continue; }
    echo "Making .venv with Python $$version; the packages take some 3 GB and a minute or two."
    mkdir -p .venv && touch .venv/unfinished && exec "$$python" -m venv .venv
done
if [ -n "$$no_venv" ]; then
    echo "Python $$no_venv lacks its venv module: install it (Debian, Ubuntu: sudo apt install python$$no_venv-venv)," \
         "or choose another Python (make setup PYTHON=python3.12)."
else
    echo "tfmri needs Python 3.11, 3.12 or 3.13$$found: install one with its venv module" \
         "(Debian, Ubuntu: sudo apt install python3 python3-venv) or name one that you have (make setup PYTHON=python3.12)."
fi >&2
exit 1
endef
export MAKE_VENV

# .venv/unfinished stands there while packages go in: what an interrupted setup left is not built upon.
$(INSTALLED): $(sort requirements.txt $(REQUIREMENTS)) setup.cfg
	@if [ -e .venv/unfinished ] || ! .venv/bin/python -m pip --version > /dev/null 2>&1; then \
	    rm -rf .venv; bash -c "$$MAKE_VENV"; else touch .venv/unfinished; fi
	.venv/bin/python -m pip install --disable-pip-version-check --no-deps -r $(REQUIREMENTS)
	.venv/bin/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation -q -e .
	@rm .venv/unfinished && touch $@

##  Experiments

.PHONY: train evaluate check prepare preview tensorboard
train: $(INSTALLED)  ## train EXP, then evaluate it on its test split
	.venv/bin/tfmri train $(experiment) $(ARGS)
	.venv/bin/tfmri evaluate $(latest)

evaluate: $(INSTALLED)  ## evaluate RUN, or the latest run of EXP, once more
	.venv/bin/tfmri evaluate $(if $(RUN),'$(RUN)',$(latest)) $(ARGS)

check: $(INSTALLED)  ## tell what is wrong or doubtful with the labels and scans of EXP, and draw them all
	.venv/bin/tfmri check $(experiment) $(ARGS)

prepare: $(INSTALLED)  ## fill the cache with the prepared scans of EXP
	.venv/bin/tfmri prepare $(experiment) $(ARGS)

preview: $(INSTALLED)  ## make a picture of prepared scans of EXP, and of one scan augmented
	.venv/bin/tfmri preview $(experiment) $(ARGS)

tensorboard: $(INSTALLED)  ## serve the curves of all runs, or of RUN, to a browser on this machine
	.venv/bin/tfmri tensorboard $(if $(RUN),'$(RUN)') --port $(BOARD) $(ARGS)

##  The cluster

.PHONY: push sync submit jobs cancel interactive doctor
# Of make's command line: the program reads sge/user.mk and TFMRI_SITE itself.
site = $(if $(findstring command,$(origin SITE)),--site '$(SITE)')

push: $(INSTALLED)  ## copy the code to the cluster: nothing that git ignores, and nothing is deleted there
	.venv/bin/tfmri push $(site) $(ARGS)

sync: $(INSTALLED)  ## fetch curves, results and job logs from the cluster, of RUN or of all: nothing is deleted here
	.venv/bin/tfmri sync $(site) $(if $(RUN),--run '$(RUN)') $(if $(WEIGHTS),--weights) $(WATCH:%=--watch %) $(ARGS)

doctor: $(INSTALLED)  ## check Python, GPUs, disks, Grid Engine and the way there, and say what to do
	.venv/bin/tfmri doctor $(site) $(ARGS)

submit: $(INSTALLED)  ## on the login node: submit the jobs of EXP: prepare, train every fit, evaluate
	.venv/bin/tfmri submit $(experiment) $(site) $(ARGS)

jobs: $(INSTALLED)  ## there too: tell how the submitted jobs are, or those of RUN
	.venv/bin/tfmri jobs $(if $(RUN),'$(RUN)') $(ARGS)

cancel: $(INSTALLED)  ## end the jobs of RUN (ARGS=--all: of all runs)
	.venv/bin/tfmri cancel $(if $(RUN),'$(RUN)') $(ARGS)

interactive: $(INSTALLED)  ## open a shell on a node with GPUS
	.venv/bin/tfmri interactive --gpus '$(GPUS)' $(site) $(ARGS)

##  Working on tfmri

.PHONY: test test-system lint bench clean help
test: $(INSTALLED)  ## run the tests, without those of whole programs
	.venv/bin/python -m pytest -m 'not system' -n 2 --dist loadfile $(ARGS)

test-system: $(INSTALLED)  ## run the tests of whole programs: the readme's commands, ssh servers, trainings that are killed
	.venv/bin/python -m pytest -m system -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(INSTALLED)  ## check style and types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

bench: $(INSTALLED)  ## run the benchmark BENCH, a script of benchmarks/ (pip install -e .[bench] adds the peers)
	.venv/bin/python 'benchmarks/$(BENCH).py' $(ARGS)

clean:  ## remove .venv and what the tools keep; runs, cache and data stay
	rm -rf .venv *.egg-info build dist .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -r {} +

help:  ## list the targets
	@awk -F ':.*## ' '/^## / { print "\n" substr($$0, 5) } /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
	@echo; sed -n 's/^#  / /p' Makefile
