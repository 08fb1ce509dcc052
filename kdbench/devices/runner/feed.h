// Feeding a program: whether an input fits its method, and one item of it as execute() gets it.
#pragma once

#include <executorch/extension/tensor/tensor_ptr.h>
#include <executorch/runtime/executor/method.h>

#include <algorithm>
#include <string>
#include <vector>

#include "job.h"
#include "tensors.h"

namespace kdbench {

namespace et = executorch::runtime;

[[noreturn]] inline void fail(et::Error error, Exit code, const std::string& what) {
  const bool memory = error == et::Error::MemoryAllocationFailed || error == et::Error::DelegateMemoryAllocationFailed;
  const std::string name = et::to_string(error);
  throw Failure(memory ? kNoMemory : code, what + ": " + name.substr(name.rfind(':') + 1));
}

template <typename Wanted, typename Found>
[[noreturn]] void misshapen(const std::string& path, size_t input, const Wanted& wanted, const Found& found) {
  throw Failure(kBadInput, "input " + std::to_string(input) + " of program " + path + " has shape " + shown(wanted) +
                               ", found " + shown(found));
}

// Refuses what the method of the program in `path` would misread, with words of its own.
inline void match(const et::Method& method, const Input& input, const std::string& path) {
  const std::string name = "program " + path;
  const auto meta = method.method_meta();
  if (meta.num_inputs() != input.arrays.size())
    throw Failure(kBadInput, name + " has " + std::to_string(meta.num_inputs()) + " inputs, found " +
                                 std::to_string(input.arrays.size()));
  for (size_t i = 0; i < input.arrays.size(); ++i) {
    const Array& array = input.arrays[i];
    const auto info = meta.input_tensor_meta(i);
    const std::string place = "input " + std::to_string(i) + " of " + name;
    if (!info.ok()) throw Failure(kBadInput, place + " is not a tensor");
    if (array.dtype->type != info->scalar_type())
      throw Failure(kBadInput, place + " is " + dtype_name(info->scalar_type()) + ", found " + array.dtype->name);
    // A dynamic dimension is planned for its largest size.
    const auto sizes = info->sizes();
    bool fits = sizes.size() == array.shape.size();
    for (size_t d = 0; fits && d < sizes.size(); ++d) fits = array.shape[d] <= sizes[d];
    if (!fits) misshapen(path, i, sizes, array.shape);
  }
}

// One item as execute() gets it; a layout other than C order needs bytes of its own.
struct Item {
  std::vector<executorch::extension::TensorPtr> tensors;
  std::vector<std::vector<char>> own;
};

// One item's inputs, pointing into the array where the method wants C order.
inline Item item(const et::Method& method, const Input& input, size_t index) {
  const auto meta = method.method_meta();
  Item made;
  for (size_t i = 0; i < input.arrays.size(); ++i) {
    const Array& array = input.arrays[i];
    char* bytes = const_cast<char*>(array.bytes.data()) + index * array.item_bytes;
    const auto info = meta.input_tensor_meta(i);
    const auto order = info->dim_order();
    if (!is_c_order(order)) {
      made.own.emplace_back(array.item_bytes);
      relayout(made.own.back().data(), bytes, array.shape, strides_of(array.shape, order), array.dtype->bytes, true);
      bytes = made.own.back().data();
    }
    made.tensors.push_back(executorch::extension::make_tensor_ptr(
        array.shape, bytes, std::vector<uint8_t>(order.begin(), order.end()), {}, array.dtype->type));
  }
  return made;
}

inline void set(et::Method& method, const Item& item, const std::string& path) {
  for (size_t i = 0; i < item.tensors.size(); ++i) {
    const et::Error error = method.set_input(et::EValue(*item.tensors[i]), i);
    if (error == et::Error::Ok) continue;
    for (size_t other = 0; other < item.tensors.size(); ++other) {
      const auto wanted = method.method_meta().input_tensor_meta(other)->sizes();
      const auto found = item.tensors[other]->sizes();
      if (!std::equal(wanted.begin(), wanted.end(), found.begin(), found.end())) misshapen(path, other, wanted, found);
    }
    fail(error, kBadInput, "cannot set the inputs of program " + path);
  }
}

}  // namespace kdbench
