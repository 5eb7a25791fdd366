// MachineConfig and its protobuf form. Private to vmm/control: it includes generated code.
#pragma once
#include "base/result.h"
#include "vmm/config/machine_config.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include "proto/internal/control.pb.h"
#pragma GCC diagnostic pop

namespace gemel {

void MachineToProto(const MachineConfig& config, internal::Machine* out);

// What comes back has passed Validate.
Result<MachineConfig> MachineFromProto(const internal::Machine& in);

}  // namespace gemel
