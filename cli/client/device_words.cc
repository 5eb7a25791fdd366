#include "cli/client/device_words.h"

#include <algorithm>
#include <string>

#include "vmm/config/parse.h"

namespace gemel::cli {
namespace {

constexpr std::uint32_t kMaxCpu = 8191;
constexpr std::size_t kMaxCpus = 1024;
constexpr std::uint32_t kMaxOperations = 1'000'000'000;

// Cuts off what is before the first comma.
std::string_view TakePart(std::string_view& rest) {
  const std::size_t comma = std::min(rest.find(','), rest.size());
  const std::string_view part = rest.substr(0, comma);
  rest.remove_prefix(std::min(comma + 1, rest.size()));
  return part;
}

struct Word {
  std::string_view key;
  std::string_view value;  // empty, too, without '='
};
Word Cut(std::string_view part) {
  const std::size_t equals = std::min(part.find('='), part.size());
  return {part.substr(0, equals), part.substr(std::min(equals + 1, part.size()))};
}

// "san/0"
Status ParseLun(std::string_view text, v1::IscsiLun& lun) {
  const std::size_t slash = text.rfind('/');
  if (slash == std::string_view::npos || slash == 0)
    return InvalidArgument("disk: iscsi={}: not iscsi=TARGET/LUN, such as iscsi=san/0", text);
  lun.set_target(std::string(text.substr(0, slash)));
  ASSIGN_OR_RETURN(const std::uint32_t number,
                   ParseNumber("disk: LUN", text.substr(slash + 1), 0, 16383));
  lun.set_lun(number);
  return {};
}

Status FillDisk(const Word& word, std::string_view part, v1::DiskAttachment& disk) {
  v1::IoLimit& limit = *disk.mutable_limit();
  if (part == "readonly") {
    disk.set_read_only(true);
  } else if (part == "direct") {
    disk.set_direct(true);
  } else if (word.key == "read-bps") {
    ASSIGN_OR_RETURN(const std::uint64_t bytes, ParseSize("disk: read-bps", word.value));
    limit.set_read_bytes_per_second(bytes);
  } else if (word.key == "write-bps") {
    ASSIGN_OR_RETURN(const std::uint64_t bytes, ParseSize("disk: write-bps", word.value));
    limit.set_write_bytes_per_second(bytes);
  } else if (word.key == "read-iops") {
    ASSIGN_OR_RETURN(const std::uint32_t count,
                     ParseNumber("disk: read-iops", word.value, 1, kMaxOperations));
    limit.set_read_operations_per_second(count);
  } else if (word.key == "write-iops") {
    ASSIGN_OR_RETURN(const std::uint32_t count,
                     ParseNumber("disk: write-iops", word.value, 1, kMaxOperations));
    limit.set_write_operations_per_second(count);
  } else {
    return InvalidArgument(
        "disk: {}: unknown; there is readonly, direct, read-bps=, write-bps=, read-iops=, "
        "write-iops=",
        part);
  }
  return {};
}

Status FillNic(const Word& word, std::string_view part, v1::NetworkInterface& nic) {
  if (word.key == "mac" && !word.value.empty()) {
    nic.set_mac_address(std::string(word.value));
  } else if (word.key == "ip" && !word.value.empty()) {
    nic.set_ip_address(std::string(word.value));
  } else if (word.key == "vlan") {
    ASSIGN_OR_RETURN(const std::uint32_t vlan, ParseNumber("nic: vlan", word.value, 1, 4094));
    nic.set_vlan(vlan);
  } else if (word.key == "queues") {
    ASSIGN_OR_RETURN(const std::uint32_t queues, ParseNumber("nic: queues", word.value, 1, 16));
    nic.set_queues(queues);
  } else if (part == "link=up" || part == "link=down") {
    nic.set_link_down(word.value == "down");
  } else if (word.key == "rx") {
    ASSIGN_OR_RETURN(const std::uint64_t bytes, ParseSize("nic: rx", word.value));
    nic.mutable_receive_limit()->set_bytes_per_second(bytes);
  } else if (word.key == "tx") {
    ASSIGN_OR_RETURN(const std::uint64_t bytes, ParseSize("nic: tx", word.value));
    nic.mutable_transmit_limit()->set_bytes_per_second(bytes);
  } else {
    return InvalidArgument(
        "nic: {}: unknown; there is mac=, ip=, vlan=, queues=, link=up|down, rx=, tx=", part);
  }
  return {};
}

}  // namespace

Result<v1::DiskAttachment> ParseDiskWord(std::string_view text) {
  v1::DiskAttachment disk;
  std::string_view rest = text;
  const std::string_view which = TakePart(rest);
  const Word first = Cut(which);
  if (first.key == "iscsi")
    RETURN_IF_ERROR(ParseLun(first.value, *disk.mutable_iscsi()));
  else
    disk.set_disk(std::string(which));
  while (!rest.empty()) {
    const std::string_view part = TakePart(rest);
    RETURN_IF_ERROR(FillDisk(Cut(part), part, disk));
  }
  if (disk.limit().ByteSizeLong() == 0) disk.clear_limit();
  return disk;
}

Result<v1::NetworkInterface> ParseNicWord(std::string_view text) {
  v1::NetworkInterface nic;
  std::string_view rest = text;
  const std::string_view network = TakePart(rest);
  if (network != "user") nic.set_network(std::string(network));
  while (!rest.empty()) {
    const std::string_view part = TakePart(rest);
    RETURN_IF_ERROR(FillNic(Cut(part), part, nic));
  }
  return nic;
}

Result<std::uint32_t> ParseCores(std::string_view argument, std::string_view text) {
  const std::size_t dot = std::min(text.find('.'), text.size());
  const std::string_view places = text.substr(std::min(dot + 1, text.size()));
  std::string thousandths(places);
  if (places.size() > 3 || (dot < text.size() && places.empty()))
    return InvalidArgument("{}: {}: not a number of processors such as 1.5", argument, text);
  thousandths.resize(3, '0');
  ASSIGN_OR_RETURN(const std::uint32_t whole,
                   ParseNumber(argument, text.substr(0, dot), 0, 1'000'000));
  ASSIGN_OR_RETURN(const std::uint32_t part, ParseNumber(argument, thousandths, 0, 999));
  return whole * 1000 + part;
}

Result<std::vector<std::uint32_t>> ParseCpuList(std::string_view argument, std::string_view text) {
  std::vector<std::uint32_t> cpus;
  std::string_view rest = text;
  do {
    const std::string_view part = TakePart(rest);
    const std::size_t dash = std::min(part.find('-'), part.size());
    ASSIGN_OR_RETURN(const std::uint32_t first,
                     ParseNumber(argument, part.substr(0, dash), 0, kMaxCpu));
    std::uint32_t last = first;
    if (dash < part.size()) {
      ASSIGN_OR_RETURN(last, ParseNumber(argument, part.substr(dash + 1), first, kMaxCpu));
    }
    for (std::uint32_t cpu = first; cpu <= last && cpus.size() <= kMaxCpus; ++cpu)
      cpus.push_back(cpu);
  } while (!rest.empty());
  if (cpus.size() > kMaxCpus)
    return InvalidArgument("{}: {}: more than {} processors", argument, text, kMaxCpus);
  return cpus;
}

}  // namespace gemel::cli
