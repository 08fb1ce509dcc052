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

#include "pace.h"
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
  Series series;
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

// Raw values beside result.json; their name.
template <typename Value>
std::string put(const std::vector<Value>& values, const std::string& name, const std::string& folder) {
  std::ofstream file(folder + "/" + name, std::ios::binary);
  file.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(Value)));
  flush(file);
  return name;
}

inline void write_results(const Results& results, const std::string& folder) {
  std::ostringstream json;
  json << "{\"version\": 1, \"threads\": " << results.threads << ", \"pinned\": " << results.pinned
       << ", \"blocks\": " << shown(results.blocks) << ", \"programs\": [";
  for (size_t p = 0; p < results.programs.size(); ++p) {
    const Measured& program = results.programs[p];
    const std::string place = "-" + std::to_string(p) + ".bin";
    json << (p ? ", " : "") << "{\"loaded\": " << (program.loaded ? "true" : "false")
         << ", \"load_program_ns\": " << program.load_program_ns << ", \"load_method_ns\": " << program.load_method_ns
         << ", \"first_ns\": " << program.first_ns << ", \"samples\": \"" << put(program.samples, "samples" + place, folder)
         << "\", \"runs\": " << program.samples.size();
    if (program.series.runs() > 0)
      json << ", \"series\": \"" << put(program.series.kept(), "series" + place, folder)
           << "\", \"kept\": " << program.series.kept().size() << ", \"begun\": " << program.series.runs();
    json << ", \"outputs\": [";
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
