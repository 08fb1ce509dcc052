// A pace: inferences that begin at due times, or back to back, and what is kept of when they began and what they took.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

namespace kdbench {

using Clock = std::chrono::steady_clock;

inline int64_t since(Clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count();
}

struct Begun {
  int64_t began_ns, taken_ns;
};

// Of a series of any length at most kMost, evenly spread: every one, then every second, every fourth ... from the first on.
class Series {
 public:
  static constexpr size_t kMost = 1 << 16;

  void add(Begun begun) {
    if (runs_++ % stride_ != 0) return;
    if (kept_.size() == kMost) {
      for (size_t i = 0; i < kMost / 2; ++i) kept_[i] = kept_[2 * i];
      kept_.resize(kMost / 2);
      stride_ *= 2;  // kMost is even, so this one is kept
    }
    kept_.push_back(begun);
  }
  uint64_t runs() const { return runs_; }
  const std::vector<Begun>& kept() const { return kept_; }

 private:
  uint64_t runs_ = 0, stride_ = 1;
  std::vector<Begun> kept_;
};

// `once` runs one inference and returns what it took. The k-th is due k periods after the start, so that lateness does not
// add up: it begins then, or at once where that is over. Ends after `runs`, or with the first that ends after max_ns.
template <typename Once>
void pace(uint64_t period_ns, uint64_t runs, uint64_t max_ns, Series& series, Once once) {
  const auto start = Clock::now();
  auto due = start;
  do {
    std::this_thread::sleep_until(due);
    const int64_t began = since(start);
    series.add({began, static_cast<int64_t>(once())});
    due += std::chrono::nanoseconds(period_ns);
  } while (series.runs() < runs && static_cast<uint64_t>(since(start)) < max_ns);
}

}  // namespace kdbench
