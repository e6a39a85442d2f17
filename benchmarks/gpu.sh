#!/usr/bin/env bash
# GPU tests, benchmarks, then CIFAR-10/ResNet-20: dense, random mask, Sign-In and HAM at 80/90/95 % sparsity.
# usage: gpu_session.sh ARCHIVE [minutes]     a tar of JPEG folders train/CLASS/ and test/CLASS/, or such a folder
# Runs resume: call again with the same OUT until all are done. Without a GPU, three epochs on the CPU.
set -euo pipefail
cd "$(dirname "$0")/.."

archive=${1:?a tar file or a folder of images is needed}
minutes=${2:-9}
out=${OUT:-results}
python=${PYTHON:-.venv/bin/python}
end=$(($(date +%s) + minutes * 60))
mkdir -p "$out"

if "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then device=cuda; else device=cpu; fi

images=$archive
if [ -f "$archive" ]; then
  images=$out/images
  if [ ! -e "$images/.whole" ]; then
    mkdir -p "$images" && tar -xf "$archive" -C "$images" && touch "$images/.whole"
  fi
  train=$(find "$images" -maxdepth 2 -type d -name train | head -n 1)
  images=$(dirname "$train")
fi

once() { # once NAME COMMAND...: run it, keep its output, and leave it out in later calls if it succeeded
  local name=$1
  shift
  [ -e "$out/.$name.done" ] && return
  if "$@" 2>&1 | tee "$out/$name.txt"; then touch "$out/.$name.done"; else echo "$name failed"; fi
}

if [ "$device" = cuda ]; then
  once gpu-tests "$python" -m pytest -q -m gpu
  once dynamics-speed-cuda "$python" -m benchmarks.dynamics --grid 8192 --rounds 3 \
    --solvers "dynamics, fused" "dynamics, fused, cuda" --out "$out"
fi
once training-speed "$python" benchmarks/training.py --out "$out"

extra=(engine.device=$device)
if [ "$device" = cuda ]; then extra+=(engine.graphs=true); else extra+=(epochs=3); fi
"$python" -m sparse_training sweep campaigns/cifar10-resnet20.toml --data "$images" --out "$out/cifar10" --keep last \
  --until "$((end - $(date +%s)))s" --set "${extra[@]}"
"$python" -m sparse_training sweep table "$out/cifar10/ledger.jsonl" | tee "$out/cifar10-resnet20-$device.md"
