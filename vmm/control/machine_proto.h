// MachineConfig and its protobuf form. Private to vmm/control: it includes generated code.
#pragma once
#include <string_view>

#include "base/result.h"
#include "vmm/config/machine_config.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include "proto/internal/control.pb.h"
#pragma GCC diagnostic pop

namespace gemel {

// Each enum of ours counts from 0, its proto form from 1 in the same order (0: not given).
template <class P, class E>
P EnumToProto(E value) {
  return static_cast<P>(static_cast<int>(value) + 1);
}

template <class E, class P>
Result<E> EnumFromProto(P value, E last, std::string_view what) {
  const int number = static_cast<int>(value);
  if (number < 1 || number > static_cast<int>(last) + 1)
    return InvalidArgument("{}: {}: unknown to this gemel-vmm", what, number);
  return static_cast<E>(number - 1);
}

void MachineToProto(const MachineConfig& config, internal::Machine* out);

// What comes back has passed Validate.
Result<MachineConfig> MachineFromProto(const internal::Machine& in);

}  // namespace gemel
