// A job as the runner reads it: job.txt, version 1, one statement a line, fields parted by tabs.
//
//   kdbench-job 1
//   threads N                                   1 to 1024
//   cpu N                                       -1: not pinned
//   program METHOD PATH                         program 0, 1, ... in this order
//   input ITEMS ARRAYS                          input 0, 1, ...; followed by ARRAYS lines:
//   array DTYPE ITEM_BYTES PATH DIM...          one item's shape; the file holds ITEMS * ITEM_BYTES bytes, C order
//   load PROGRAM
//   interleave WARMUP_RUNS WARMUP_NS MIN_RUNS MIN_NS MAX_NS BLOCK_NS SEED COUNT    followed by COUNT lines:
//   time PROGRAM INPUT                          each program at most once
//   pace PROGRAM INPUT PERIOD_NS RUNS MAX_NS    each program at most once in a job; period 0: back to back
//   predict PROGRAM INPUT                       each program at most once in a job
//   memory INDEX
//   end LINES                                   the number of lines above it: a cut-off job is refused
//
// kdbench/devices/statements.py reads the same for the Python runner and refuses the same in the same words.
#pragma once

#include <cstdint>
#include <fstream>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "tensors.h"

namespace kdbench {

constexpr uint64_t kMost = std::numeric_limits<int64_t>::max();
constexpr uint64_t kMostThreads = 1024, kMostCpu = 1023;  // what a Linux cpu_set_t holds

struct ProgramSpec {
  std::string method, path;
};
struct Array {
  const DType* dtype = nullptr;
  size_t item_bytes = 0;
  std::vector<int32_t> shape;
  std::vector<char> bytes;
};
struct Input {
  size_t items = 0;
  std::vector<Array> arrays;
};
struct Timed {
  size_t program, input;
};
struct Step {
  enum Kind { kLoad, kInterleave, kPace, kPredict, kMemory } kind = kLoad;
  size_t program = 0, input = 0, memory = 0;
  uint64_t warmup_runs = 0, warmup_ns = 0, min_runs = 0, min_ns = 0, max_ns = 0, block_ns = 0, seed = 0;
  uint64_t period_ns = 0, runs = 0;
  std::vector<Timed> timed;
};
struct Job {
  uint32_t threads = 1;
  int cpu = -1;
  std::vector<ProgramSpec> programs;
  std::vector<Input> inputs;
  std::vector<Step> steps;
};

class Lines {
 public:
  explicit Lines(const std::string& path) : file_(path) {
    if (!file_) throw Failure(kBadJob, "cannot read " + path);
  }
  // The fields of the next line; if `expected` is not empty, it is the first and there are `size` or, with `more`, more.
  std::vector<std::string> next(const std::string& expected = "", size_t size = 0, bool more = false) {
    std::string line;
    if (!std::getline(file_, line)) throw Failure(kBadJob, "the job ends after line " + std::to_string(count_));
    ++count_;
    std::vector<std::string> fields;
    for (size_t at = 0;;) {
      const size_t tab = line.find('\t', at);
      fields.push_back(line.substr(at, tab - at));
      if (tab == std::string::npos) break;
      at = tab + 1;
    }
    if (expected.empty()) return fields;
    if (fields[0] != expected) fail("expected '" + expected + "', found '" + fields[0] + "'");
    if (more ? fields.size() < size : fields.size() != size)
      fail("'" + expected + "' has " + std::to_string(fields.size()) + " fields, expected " + std::to_string(size) +
           (more ? " or more" : ""));
    return fields;
  }
  void need(const std::vector<std::string>& fields, size_t size) const {
    if (fields.size() != size)
      fail("'" + fields[0] + "' has " + std::to_string(fields.size()) + " fields, expected " + std::to_string(size));
  }
  [[noreturn]] void fail(const std::string& why) const {
    throw Failure(kBadJob, "line " + std::to_string(count_) + " of the job: " + why);
  }
  uint64_t number(const std::string& text, uint64_t most = kMost) const {
    uint64_t value = 0;
    bool good = !text.empty() && text.size() <= 19;  // so many digits cannot overflow
    for (const char digit : text) {
      good = good && digit >= '0' && digit <= '9';
      if (good) value = value * 10 + static_cast<uint64_t>(digit - '0');
    }
    if (!good || value > most) fail("expected a whole number up to " + std::to_string(most) + ", found '" + text + "'");
    return value;
  }
  size_t index(const std::string& text, size_t size, const char* what) const {
    const uint64_t value = number(text);
    if (value >= size) fail(std::string("there is no ") + what + " " + text);
    return value;
  }
  size_t count() const { return count_; }

 private:
  std::ifstream file_;
  size_t count_ = 0;
};

inline std::vector<char> read_exactly(const std::string& path, size_t bytes) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) throw Failure(kBadInput, "cannot read " + path);
  const auto found = static_cast<size_t>(file.tellg());
  if (found != bytes)
    throw Failure(kBadInput, path + " has " + std::to_string(found) + " bytes, expected " + std::to_string(bytes));
  std::vector<char> content(bytes);
  file.seekg(0);
  file.read(content.data(), static_cast<std::streamsize>(bytes));
  if (!file) throw Failure(kBadInput, "cannot read " + path);
  return content;
}

inline Array read_array(Lines& lines, uint64_t items) {
  const auto line = lines.next("array", 4, true);
  Array array;
  array.dtype = dtype_named(line[1]);
  if (array.dtype == nullptr) lines.fail("unknown dtype '" + line[1] + "'");
  array.item_bytes = lines.number(line[2]);
  uint64_t bytes = array.dtype->bytes, all = 0;
  bool small = true;
  for (size_t d = 4; d < line.size(); ++d) {
    array.shape.push_back(static_cast<int32_t>(lines.number(line[d], std::numeric_limits<int32_t>::max())));
    small = small && !__builtin_mul_overflow(bytes, static_cast<uint64_t>(array.shape.back()), &bytes);
  }
  small = small && !__builtin_mul_overflow(bytes, items, &all) && all <= kMost;
  if (!small) lines.fail(line[1] + " " + shown(array.shape) + " is too large");
  if (bytes != array.item_bytes)
    lines.fail(line[1] + " " + shown(array.shape) + " takes " + std::to_string(bytes) + " bytes, found " + line[2]);
  array.bytes = read_exactly(line[3], all);
  return array;
}

inline Input read_input(Lines& lines, const std::vector<std::string>& fields) {
  Input input;
  input.items = lines.number(fields[1]);
  const uint64_t arrays = lines.number(fields[2]);
  if (input.items == 0) lines.fail("an input needs at least one item");
  for (uint64_t i = 0; i < arrays; ++i) input.arrays.push_back(read_array(lines, input.items));
  return input;
}

inline Step read_interleave(Lines& lines, const Job& job, const std::vector<std::string>& f) {
  Step step;
  step.kind = Step::kInterleave;
  uint64_t* const numbers[] = {&step.warmup_runs, &step.warmup_ns, &step.min_runs, &step.min_ns,
                               &step.max_ns,      &step.block_ns,  &step.seed};
  for (size_t i = 0; i < 7; ++i) *numbers[i] = lines.number(f[i + 1]);
  const uint64_t count = lines.number(f[8]);
  std::set<size_t> timed;
  for (uint64_t i = 0; i < count; ++i) {
    const auto line = lines.next("time", 3);
    step.timed.push_back({lines.index(line[1], job.programs.size(), "program"),
                          lines.index(line[2], job.inputs.size(), "input")});
    if (!timed.insert(step.timed.back().program).second) lines.fail("program " + line[1] + " is timed twice");
  }
  return step;
}

inline Job read_job(const std::string& path) {
  Lines lines(path);
  Job job;
  const auto head = lines.next();
  if (head[0] != "kdbench-job") lines.fail("this is not a job of kdbench");
  lines.need(head, 2);
  if (head[1] != "1") lines.fail("job version " + head[1] + ", this runner reads version 1");
  std::set<size_t> predicted, paced;
  for (;;) {
    const auto f = lines.next();
    const auto need = [&](size_t size) { lines.need(f, size); };
    Step step;
    if (f[0] == "end") {
      need(2);
      if (lines.number(f[1]) != lines.count() - 1) lines.fail("the job says that it has " + f[1] + " lines");
      return job;
    } else if (f[0] == "threads") {
      need(2);
      job.threads = static_cast<uint32_t>(lines.number(f[1], kMostThreads));
      if (job.threads == 0) lines.fail("a job needs at least one thread");
    } else if (f[0] == "cpu") {
      need(2), job.cpu = f[1] == "-1" ? -1 : static_cast<int>(lines.number(f[1], kMostCpu));
    } else if (f[0] == "program") {
      need(3), job.programs.push_back({f[1], f[2]});
    } else if (f[0] == "input") {
      need(3), job.inputs.push_back(read_input(lines, f));
    } else if (f[0] == "load") {
      need(2);
      step.program = lines.index(f[1], job.programs.size(), "program");
      job.steps.push_back(step);
    } else if (f[0] == "pace") {
      need(6);
      step.kind = Step::kPace;
      step.program = lines.index(f[1], job.programs.size(), "program");
      step.input = lines.index(f[2], job.inputs.size(), "input");
      step.period_ns = lines.number(f[3]), step.runs = lines.number(f[4]), step.max_ns = lines.number(f[5]);
      if (!paced.insert(step.program).second) lines.fail("program " + f[1] + " is paced twice");
      job.steps.push_back(step);
    } else if (f[0] == "predict") {
      need(3);
      step.kind = Step::kPredict;
      step.program = lines.index(f[1], job.programs.size(), "program");
      step.input = lines.index(f[2], job.inputs.size(), "input");
      if (!predicted.insert(step.program).second) lines.fail("program " + f[1] + " is predicted twice");
      job.steps.push_back(step);
    } else if (f[0] == "memory") {
      need(2);
      step.kind = Step::kMemory;
      step.memory = lines.number(f[1]);
      job.steps.push_back(step);
    } else if (f[0] == "interleave") {
      need(9), job.steps.push_back(read_interleave(lines, job, f));
    } else {
      lines.fail("unknown statement '" + f[0] + "'");
    }
  }
}

}  // namespace kdbench
