# The two commands: `make demo` lip-syncs the sample, `make test` runs every test. Both install what they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := out/demo.mp4

.PHONY: demo test lint train-mini clean

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e ".[standalone,training,dev]"
	touch $@

demo: $(VENV)/.installed
	mkdir -p $(dir $(DEMO))
	$(BIN)/mytalk sync examples/ai_woman.mp4 examples/speech_en.wav -o $(DEMO)
	@echo "The result is in $(DEMO)"

test: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest

# The bundled model again, from a folder of clips in any layout that mytalk prepare knows. LPIPS=FOLDER, which
# mytalk_training.convert.lpips writes, adds the perceptual loss that the bundled refiner had.
MOTION := --penalty l1 --velocity-weight 4 --hide-speech 3 --time-power 0.4 --dropout 0.2 --lr 2e-4
train-mini: $(VENV)/.installed
	@test -n "$(DATA)" || { echo "make train-mini needs DATA=FOLDER, a folder of talking clips"; exit 1; }
	$(BIN)/mytalk prepare "$(DATA)" -o out/dataset
	$(BIN)/python -m mytalk_training.motion.train_identity out/dataset -o out/identity --steps 2500
	$(BIN)/accelerate launch -m mytalk_training.motion.train out/dataset -o out/regression --identity out/identity \
		--process regression --steps 1000
	$(BIN)/accelerate launch -m mytalk_training.motion.train out/dataset -o out/half --identity out/identity \
		$(MOTION) --init out/regression/model --own-guess 0.5 --warmup 50 --steps 500
	$(BIN)/accelerate launch -m mytalk_training.motion.train out/dataset -o out/run --identity out/identity \
		$(MOTION) --init out/half/model --own-guess 0.9 --warmup 20 --steps 150
	$(BIN)/python -m mytalk_training.expert.train out/dataset -o out/sync --space out/run/model/space --steps 1500
	$(BIN)/python -m mytalk_training.refiner.prepare out/dataset -o out/mouths
	$(BIN)/accelerate launch -m mytalk_training.refiner.train out/mouths -o out/refiner --steps 1100 \
		$(if $(LPIPS),--perceptual "$(LPIPS)")

clean:
	rm -rf $(VENV) out build *.egg-info
