// The words of the command line (and later of the configuration file) as values. Pure.
//
// Every error is kInvalidArgument with one line "<argument>: <value>: <what is wrong>", ready to be
// shown; `argument` is the option's name without dashes.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "vmm/config/machine_config.h"

namespace gemel {

// "1073741824", "512M", "2G", "2GiB"; K, M, G, T are powers of 1024, upper or lower case. Whole
// numbers alone.
Result<std::uint64_t> ParseSize(std::string_view argument, std::string_view text);
// The shortest exact form that ParseSize reads: "512M"; bytes where nothing larger divides.
std::string FormatSize(std::uint64_t bytes);
// For people, rounded down to a tenth below 10: "23 GiB", "1.5 GiB", "512 MiB".
std::string RoughSize(std::uint64_t bytes);

// A decimal number from `least` to `most`.
Result<std::uint32_t> ParseNumber(std::string_view argument, std::string_view text,
                                  std::uint32_t least, std::uint32_t most);
// "on" or "off".
Result<bool> ParseOnOff(std::string_view argument, std::string_view text);
// "90s", "10m", "2h", "500ms"; a bare number is seconds. More than zero; at most a year.
// Milliseconds.
Result<std::int64_t> ParseDuration(std::string_view argument, std::string_view text);

// "512M", or a list as "512M,shared=on" or "size=512M,hugepages=on".
Result<MemoryConfig> ParseMemory(std::string_view text);
// "path=FILE[,readonly=on|off][,serial=TEXT][,direct=on|off][,engine=auto|io_uring|sync]". A comma
// in a value is written twice.
Result<DiskConfig> ParseDisk(std::string_view text);
// "stdio", "pty", "none", "file:PATH", "unix:PATH".
Result<SerialConfig> ParseSerial(std::string_view text);
Result<OnReboot> ParseOnReboot(std::string_view text);
Result<Profile> ParseProfile(std::string_view text);

}  // namespace gemel
