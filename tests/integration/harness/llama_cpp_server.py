# SPDX-License-Identifier: Apache-2.0
"""llama.cpp's server as a program: its package has it as a library only.

    llama_cpp_server.py MODEL JSON      JSON: fields of common_params and their values
"""

import json
import signal
import sys

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.port = 0
params.fit_params = False  # real models need this step
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1  # several of them wait for one another busily
for name, value in json.loads(sys.argv[2]).items():
    setattr(params, name, value)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
server = xllamacpp.Server(params)
print("can be used", flush=True)
while True:
    signal.pause()
