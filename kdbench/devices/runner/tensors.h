// Types, shapes and layouts of tensors, and how the runner fails.
#pragma once

#include <executorch/runtime/core/exec_aten/exec_aten.h>

#include <cstdint>
#include <cstring>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace kdbench {

// Exit codes, which kdbench/devices/wire.py turns into a status.
enum Exit : int { kOk = 0, kBadJob = 10, kBadInput = 11, kBadProgram = 12, kNoMemory = 13, kNotRun = 14, kNotWritten = 15 };

struct Failure : std::runtime_error {
  Exit code;
  Failure(Exit c, const std::string& what) : std::runtime_error(what), code(c) {}
};

using executorch::aten::ScalarType;

struct DType {
  const char* name;
  ScalarType type;
  size_t bytes;
};
constexpr DType kDTypes[] = {
    {"uint8", ScalarType::Byte, 1},    {"int8", ScalarType::Char, 1},     {"int16", ScalarType::Short, 2},
    {"int32", ScalarType::Int, 4},     {"int64", ScalarType::Long, 8},    {"float16", ScalarType::Half, 2},
    {"float32", ScalarType::Float, 4}, {"float64", ScalarType::Double, 8}, {"bool", ScalarType::Bool, 1},
    {"bfloat16", ScalarType::BFloat16, 2},
};

// nullptr: the job format has no such type.
inline const DType* dtype_named(const std::string& name) {
  for (const DType& d : kDTypes)
    if (name == d.name) return &d;
  return nullptr;
}
inline const DType* dtype_of(ScalarType type) {
  for (const DType& d : kDTypes)
    if (type == d.type) return &d;
  return nullptr;
}
inline std::string dtype_name(ScalarType type) {
  const DType* dtype = dtype_of(type);
  return dtype ? dtype->name : "dtype " + std::to_string(static_cast<int>(type));
}

template <typename Values>
std::string shown(const Values& values) {
  std::ostringstream out;
  out << '[';
  const char* comma = "";
  for (const auto& value : values) out << comma << value, comma = ", ";
  return out.str() + "]";
}

// Elements between neighbours of each dimension when `order` names the dimensions from the outermost to the innermost.
template <typename Order>
std::vector<size_t> strides_of(const std::vector<int32_t>& shape, const Order& order) {
  std::vector<size_t> strides(shape.size());
  size_t stride = 1;
  for (size_t i = shape.size(); i > 0; --i) {
    strides[order[i - 1]] = stride;
    stride *= static_cast<size_t>(shape[order[i - 1]]);
  }
  return strides;
}

template <typename Order>
bool is_c_order(const Order& order) {
  for (size_t i = 0; i < order.size(); ++i)
    if (order[i] != i) return false;
  return true;
}

// Copies between C order and the layout with these strides, `bytes` a value: into the layout, or out of it.
inline void relayout(char* to, const char* from, const std::vector<int32_t>& shape, const std::vector<size_t>& strides,
                     size_t bytes, bool into) {
  size_t count = 1;
  for (const int32_t size : shape) count *= static_cast<size_t>(size);
  for (size_t at = 0; at < count; ++at) {
    size_t rest = at, place = 0;
    for (size_t d = shape.size(); d > 0; --d) {
      place += rest % static_cast<size_t>(shape[d - 1]) * strides[d - 1];
      rest /= static_cast<size_t>(shape[d - 1]);
    }
    std::memcpy(to + (into ? place : at) * bytes, from + (into ? at : place) * bytes, bytes);
  }
}

}  // namespace kdbench
