// What --disk, --nic and the options of processors say of a machine, as the API has it. Pure.
//
// Every error is kInvalidArgument with one line "<argument>: <value>: <what is wrong>".
#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "proto/gemel/v1/virtual_machines.pb.h"

namespace gemel::cli {

// "NAME" or "iscsi=TARGET/LUN", then any of ",readonly", ",direct", ",read-bps=SIZE", ",write-bps=SIZE",
// ",read-iops=N", ",write-iops=N". `disk` is NAME as it stands.
Result<v1::DiskAttachment> ParseDiskWord(std::string_view text);

// "NETWORK" or "user", then any of ",mac=ADDRESS", ",ip=ADDRESS", ",vlan=N", ",queues=N", ",link=up|down",
// ",rx=SIZE", ",tx=SIZE" (a second, of what the guest receives and sends). `network` is NETWORK as it
// stands; of user networking empty.
Result<v1::NetworkInterface> ParseNicWord(std::string_view text);

// "1.5": thousandths of a processor, 1500. Up to three places.
Result<std::uint32_t> ParseCores(std::string_view argument, std::string_view text);

// "0-2,5": 0, 1, 2, 5. At most 1024 of them.
Result<std::vector<std::uint32_t>> ParseCpuList(std::string_view argument, std::string_view text);

}  // namespace gemel::cli
