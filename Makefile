# The two commands: `make demo` lip-syncs the sample, `make test` lints and runs every test. Each installs what it
# needs into .venv. The folder may have any name: scripts in .venv/bin would carry its path, so modules are run.
PYTHON ?= python3
VENV := .venv
RUN := "$(VENV)/bin/python" -m
DEMO := out/demo.mp4

.PHONY: demo test lint types test-comfyui check-comfyui train-mini clean

# A stamp each: for use, for training, for working on the code.
$(VENV)/.standalone: EXTRAS := standalone
$(VENV)/.training: EXTRAS := standalone,training
$(VENV)/.dev: EXTRAS := standalone,training,dev
$(VENV)/.standalone $(VENV)/.training $(VENV)/.dev: pyproject.toml setup.py
	"$(PYTHON)" -m venv "$(VENV)"
	$(RUN) pip install --quiet --upgrade pip
	$(RUN) pip install --quiet -e ".[$(EXTRAS)]"
	touch "$@"

demo: $(VENV)/.standalone
	mkdir -p "$(dir $(DEMO))"
	$(RUN) mytalk_core sync examples/ai_woman.mp4 examples/speech_en.wav -o "$(DEMO)"
	@echo "The result is in $(DEMO)"

# Files of tests side by side, a thread each: half the time on two cores.
test: lint
	OMP_NUM_THREADS=1 $(RUN) pytest -n auto --maxprocesses 4 --dist loadfile

lint: $(VENV)/.dev
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(MAKE) types

# The nodes climb to the core through the repository, which ComfyUI loads as a package under its folder's name; this
# link gives it a name that mypy can read.
types: $(VENV)/.dev
	mkdir -p build/types
	ln -sfn ../.. build/types/pack
	$(RUN) mypy

# The pack on a real ComfyUI: COMFYUI_DIR=FOLDER, and COMFYUI_PYTHON=PYTHON where its packages are installed. Its page,
# too, where there is a Chromium.
ifdef COMFYUI_DIR
test-comfyui: check-comfyui $(VENV)/.dev
	$(if $(COMFYUI_PYTHON),,$(RUN) pip install --quiet -r "$(COMFYUI_DIR)/requirements.txt")
	$(RUN) pip install --quiet "playwright>=1.45"
	COMFYUI_DIR="$(COMFYUI_DIR)" $(RUN) pytest -rs tests/comfyui/test_servers.py tests/comfyui/test_page.py

check-comfyui:
	@test -f "$(COMFYUI_DIR)/main.py" || { echo "COMFYUI_DIR must be the folder of a ComfyUI, with its main.py;" \
		"got $(COMFYUI_DIR)"; exit 1; }
else
test-comfyui:
	@echo "skipped: no ComfyUI to test on. Give COMFYUI_DIR=FOLDER, a checkout of ComfyUI 0.8.0 or newer, and" \
		"COMFYUI_PYTHON=PYTHON if it has its own (else its requirements are installed into $(VENV))."
endif

# The bundled model again, from a folder of clips in any layout that mytalk prepare knows. LPIPS=FOLDER, which
# mytalk_training.convert.lpips writes, adds the perceptual loss that the bundled refiner had.
LAUNCH := $(RUN) accelerate.commands.launch -m
REFINER := --inner-weight 1 --steady-weight 0.5 $(if $(LPIPS),--perceptual "$(LPIPS)")
MOTION := --identity out/identity --penalty l1 --tempi 1 1 1 0.85 0.9 0.95 1.05 1.1 1.15 --batch 64 --lr 1e-3 \
	--schedule cosine --warmup 100 --ema 0.995
# Teachers, each of other people's parts, and the landmark space of the first.
PARTS := 0 1 2 3
SPACE := --space out/teacher0/model/space
train-mini: $(VENV)/.training
	@test -n "$(DATA)" || { echo "make train-mini needs DATA=FOLDER, a folder of talking clips"; exit 1; }
	$(RUN) mytalk_core prepare "$(DATA)" -o out/dataset
	$(RUN) mytalk_training.motion.train_identity out/dataset -o out/identity --steps 2500
	for part in $(PARTS); do $(LAUNCH) mytalk_training.motion.train out/dataset -o out/teacher$$part \
		$(MOTION) --process regression --fold $$part $(words $(PARTS)) --hide-speech 6 --dropout 0.3 \
		--steps 800 $$(test $$part = 0 || echo "$(SPACE)") || exit 1; done
	$(LAUNCH) mytalk_training.motion.train out/dataset -o out/run $(MOTION) $(SPACE) \
		--teachers $(PARTS:%=out/teacher%) --truth 0.6 --own-guess 0.7 --hide-speech 2 --dropout 0.2 --steps 4300
	$(RUN) mytalk_training.expert.train out/dataset -o out/sync --space out/run/model/space --steps 1500
	$(RUN) mytalk_core prepare "$(DATA)" -o out/large --crop-px 512 --min-face-px 180
	$(RUN) mytalk_training.refiner.prepare out/large -o out/mouths --per-second 3 --most 40
	$(RUN) mytalk_training.refiner.prepare out/dataset -o out/mouths
	$(LAUNCH) mytalk_training.refiner.train out/mouths -o out/refiner --steps 3330 --batch 64 --lr 8e-4 \
		--ema 0.998 $(REFINER) --perceptual-weight 0.3
	$(LAUNCH) mytalk_training.refiner.train out/mouths -o out/more --init out/refiner --steps 640 --batch 16 \
		--lr 2e-4 --warmup 20 --ema 0.99 $(REFINER) --perceptual-weight 0.5
	$(LAUNCH) mytalk_training.refiner.train out/mouths -o out/sharp --init out/more \
		--steps 5000 --batch 64 --lr 4e-4 --warmup 60 --ema 0.998 $(REFINER) --perceptual-weight 2 \
		--adversarial-weight 0.03 --adversarial-from 300
	$(RUN) mytalk_training.loop.average out/more out/sharp -o out/mean --part refiner --shares 0.4 0.6

clean:
	rm -rf "$(VENV)" out build *.egg-info
