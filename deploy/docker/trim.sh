#!/bin/sh
# Takes from site-packages what no run, notebook or worker ever opens; megabytes of x86-64.
set -eu
cd "$1"

# 300  headers and sources to build C++ against
rm -rf tensorflow/include tensorflow/xla_aot_runtime_src openvino/include pyarrow/include pyarrow/src
#  60  libclang, which TensorFlow declares and never imports
rm -rf clang
# 230  symbols for debuggers; only of TensorFlow: libraries that a wheel's maker has patched may break
[ ! -d tensorflow ] || find tensorflow -name '*.so*' -size +1M -exec strip --strip-unneeded {} +
#  25  TensorFlow's quantiser for StableHLO
rm -f tensorflow/compiler/mlir/stablehlo/stablehlo_extension.so
#  60  OpenVINO on graphics and neural processors, which a container does not see
rm -f openvino/libs/libopenvino_intel_gpu_plugin.so openvino/libs/libopenvino_intel_npu_plugin.so \
    openvino/libs/cache.json
#  35  Arrow's network protocol, and second copies of libraries (wheels cannot hold links)
rm -f pyarrow/libarrow_flight.so.* pyarrow/libarrow_python_flight.so* pyarrow/_flight.*.so \
    pyarrow/libarrow_python.so pyarrow/libarrow_python_parquet_encryption.so \
    pyarrow/*.so.*.*.*
#  60  the Scala shell of Spark Connect
rm -rf pyspark/jars/connect-repl
#  60  RocksDB for other systems than Linux on this processor
[ ! -d pyspark ] || zip --quiet --delete pyspark/jars/rocksdbjni-*.jar '*.dll' '*.jnilib' '*linux32*' '*ppc64*' '*s390x*' \
    '*riscv*' '*musl*'
#  30  names of days and currencies in 1,000 languages; JupyterLab here speaks English
[ ! -d babel ] || find babel/locale-data -name '*.dat' ! -name 'root.dat' ! -name 'en*.dat' -delete
#  60  the packages' own tests
find . -depth -type d \( -name tests -o -name test \) \
    -not -path './numpy/*' -not -path './tensorflow/*' -not -path './keras/*' \
    -not -path './pyspark/*' -exec rm -rf {} +
