// gemel vm top: who uses what.
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>

#include "cli/client/api_name.h"
#include "cli/client/commands.h"
#include "cli/report.h"
#include "proto/gemel/v1/virtual_machines.pb.h"
#include "vmm/config/parse.h"

namespace gemel::cli {
namespace {

struct Stats {
  std::map<std::string, v1::VirtualMachineStats> machines;
  std::set<std::string> unreachable;  // nodes
};

Result<Stats> Sample(Session& session) {
  Stats stats;
  v1::ListVirtualMachineStatsRequest request;
  request.set_parent(session.parent());
  request.set_page_size(1000);
  do {
    v1::ListVirtualMachineStatsResponse page;
    RETURN_IF_ERROR(session.Call("VirtualMachines/ListStats", request, &page));
    for (auto& one : *page.mutable_virtual_machine_stats())
      stats.machines[one.name()] = std::move(one);
    stats.unreachable.insert(page.unreachable().begin(), page.unreachable().end());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return stats;
}

template <class Time>
double Seconds(const Time& time) {
  return static_cast<double>(time.seconds()) + static_cast<double>(time.nanos()) / 1e9;
}

// Per second; a counter that went back belongs to a new process.
double Rate(std::uint64_t before, std::uint64_t now, double seconds) {
  return seconds > 0 && now >= before ? static_cast<double>(now - before) / seconds : 0;
}

std::string RateText(double bytes) { return RoughSize(static_cast<std::uint64_t>(bytes)) + "/s"; }

struct Line {
  double cpu;
  std::vector<std::string> cells;
};

Line LineOf(const Session& session, const v1::VirtualMachineStats& before,
            const v1::VirtualMachineStats& now) {
  const double seconds = Seconds(now.sample_time()) - Seconds(before.sample_time());
  const double used = Seconds(now.cpu_time()) - Seconds(before.cpu_time());
  const double cpu = seconds > 0 && used > 0 ? 100 * used / seconds : 0;
  std::uint64_t exits_before = 0;
  std::uint64_t exits = 0;
  for (const auto& [reason, count] : before.exits()) exits_before += count;
  for (const auto& [reason, count] : now.exits()) exits += count;
  return {cpu,
          {ShortName(session.project(), now.name()), fmt::format("{:.1f}", cpu),
           RoughSize(now.memory_resident_bytes()),
           RateText(Rate(before.disk_read_bytes(), now.disk_read_bytes(), seconds)),
           RateText(Rate(before.disk_write_bytes(), now.disk_write_bytes(), seconds)),
           RateText(Rate(before.net_receive_bytes(), now.net_receive_bytes(), seconds)),
           RateText(Rate(before.net_transmit_bytes(), now.net_transmit_bytes(), seconds)),
           fmt::format("{:.0f}", Rate(exits_before, exits, seconds))}};
}

std::string TopText(const Session& session, const Stats& before, const Stats& now) {
  std::vector<Line> lines;
  for (const auto& [name, stats] : now.machines) {
    const auto old = before.machines.find(name);
    if (old != before.machines.end()) lines.push_back(LineOf(session, old->second, stats));
  }
  std::ranges::sort(lines, [](const Line& a, const Line& b) {
    return a.cpu != b.cpu ? a.cpu > b.cpu : a.cells[0] < b.cells[0];
  });
  Table table({{"NAME"}, {"CPU%"}, {"MEMORY"}, {"READ"}, {"WRITE"}, {"RX"}, {"TX"}, {"EXITS/S"}});
  for (Line& line : lines) table.Add(std::move(line.cells));
  return table.Text(false, false);
}

void TellUnreachable(const Stats& stats) {
  for (const std::string& node : stats.unreachable)
    PrintNote(Printable(node) + " does not answer: its machines are missing");
}

}  // namespace

Status VmTop(Words words) {
  Session session("vm top");
  std::string interval = "2s";
  bool once = false;
  OptionParser parser(R"(Examples:
  gemel vm top
  gemel vm top --once --interval 5s

Who uses what, the busiest first: processor time in hundredths of a processor, memory, bytes a second.)");
  parser.AddOption("--interval", interval, "how long to measure").Value("TIME").Default("2s");
  parser.AddFlag("--once", once, "one table, and end; always so without a terminal");
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kOther, words));
  if (!go_on) return {};
  ASSIGN_OR_RETURN(const std::int64_t ms, ParseDuration("interval", interval));
  const bool repeat = !once && OnTerminal(STDOUT_FILENO);
  ASSIGN_OR_RETURN(Stats before, Sample(session));
  do {
    usleep(static_cast<useconds_t>(std::min<std::int64_t>(ms, 3'600'000) * 1000));
    ASSIGN_OR_RETURN(Stats now, Sample(session));
    RETURN_IF_ERROR(Print((repeat ? "\x1b[H\x1b[2J" : "") + TopText(session, before, now)));
    TellUnreachable(now);
    before = std::move(now);
  } while (repeat && session.CheckTime());
  return {};
}

}  // namespace gemel::cli
