// What came of a job: result.json and the raw arrays beside it.
#pragma once

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "tensors.h"

namespace kdbench {

struct Output {
  std::string dtype;
  std::vector<int32_t> shape;
  std::string file;
};

struct Measured {
  bool loaded = false;
  int64_t load_program_ns = 0, load_method_ns = 0, first_ns = -1;
  std::vector<int64_t> samples;
  std::vector<Output> outputs;
};

// What is resident of a process: of no file, and of files; -1 where the system does not tell.
struct Resident {
  int64_t anonymous = -1, file = -1;
};

struct Results {
  size_t threads = 0;
  int pinned = -1;
  std::vector<Measured> programs;
  std::vector<size_t> blocks;  // the program of each timed block, in order
  std::map<size_t, uint64_t> memory;
  std::map<size_t, Resident> resident;
};

inline void flush(std::ofstream& file) {
  if (!file.flush()) throw Failure(kNotWritten, std::string("cannot write results: ") + std::strerror(errno));
}

inline void write_results(const Results& results, const std::string& folder) {
  std::ostringstream json;
  json << "{\"version\": 1, \"threads\": " << results.threads << ", \"pinned\": " << results.pinned
       << ", \"blocks\": " << shown(results.blocks) << ", \"programs\": [";
  for (size_t p = 0; p < results.programs.size(); ++p) {
    const Measured& program = results.programs[p];
    const std::string name = "samples-" + std::to_string(p) + ".bin";
    std::ofstream samples(folder + "/" + name, std::ios::binary);
    samples.write(reinterpret_cast<const char*>(program.samples.data()),
                  static_cast<std::streamsize>(program.samples.size() * sizeof(int64_t)));
    flush(samples);
    json << (p ? ", " : "") << "{\"loaded\": " << (program.loaded ? "true" : "false")
         << ", \"load_program_ns\": " << program.load_program_ns << ", \"load_method_ns\": " << program.load_method_ns
         << ", \"first_ns\": " << program.first_ns << ", \"samples\": \"" << name
         << "\", \"runs\": " << program.samples.size() << ", \"outputs\": [";
    const char* comma = "";
    for (const Output& output : program.outputs) {
      json << comma << "{\"dtype\": \"" << output.dtype << "\", \"shape\": " << shown(output.shape) << ", \"file\": \""
           << output.file << "\"}";
      comma = ", ";
    }
    json << "]}";
  }
  json << "], \"memory\": {";
  const char* comma = "";
  for (const auto& [index, bytes] : results.memory) json << comma << '"' << index << "\": " << bytes, comma = ", ";
  json << "}, \"resident\": {";
  comma = "";
  for (const auto& [index, bytes] : results.resident) {
    if (bytes.file < 0) continue;
    json << comma << '"' << index << "\": {\"anonymous\": " << bytes.anonymous << ", \"file\": " << bytes.file << '}';
    comma = ", ";
  }
  json << "}}\n";
  std::ofstream file(folder + "/result.json");
  file << json.str();
  flush(file);
}

}  // namespace kdbench
