// A disk on an iSCSI target without a machine: commands on stdin, what happens on stdout, a line each.
//
//   iscsi_tool PORT TARGET LUN INITIATOR ISID QUALIFIER fail|hold|claim|own:KEY [USER PASSWORD]
//
//   write|durable TAG OFFSET LENGTH BYTE     read TAG OFFSET LENGTH     flush TAG
//   discard TAG OFFSET LENGTH                zero|unmap TAG OFFSET LENGTH
//   register MINE    keys MINE    preempt MINE OTHER    reserve MINE
//   nexus INITIATOR ISID QUALIFIER           go-on                      abandon     state
//
// own:KEY holds conflicts, and looks at each login whether the disk is that key's
// (block/iscsi/shared_claim.h; INITIATOR is the stem of the name of disk 0). It goes on in another
// epoch, or reconnects in the same one, by
//   epoch INITIATOR KEY
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <sstream>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/event_loop.h"
#include "block/iscsi/disk.h"
#include "launch/iscsi_dialer.h"

namespace gemel {
namespace {

using block::BlockRequest;
using Op = block::ReservationCommand::Op;

template <class... Args>
void Say(fmt::format_string<Args...> format, Args&&... args) {
  const std::string line = fmt::format(format, std::forward<Args>(args)...) + "\n";
  CHECK(write(STDOUT_FILENO, line.data(), line.size()) == static_cast<ssize_t>(line.size()));
}

struct Transfer {
  std::string data;
  iovec part{};
};

class Tool {
 public:
  Tool(EventLoop* loop, std::unique_ptr<block::IscsiDisk> disk, block::SharedClaim* claims)
      : loop_(loop), disk_(std::move(disk)), claims_(claims) {
    CHECK(loop->Watch(STDIN_FILENO, EPOLLIN, [this](std::uint32_t) { OnInput(); }));
    CHECK(loop->Watch(disk_->completion_fd(), EPOLLIN, [this](std::uint32_t) { Reap(); }));
    const block::BlockTopology t = disk_->topology();
    Say("opened {} {} {} {} {}", disk_->size(), t.logical_block_size, t.physical_block_size,
        t.optimal_io_size, t.discard_granularity);
  }

 private:
  void OnInput() {
    char buffer[4096];
    const ssize_t n = read(STDIN_FILENO, buffer, sizeof buffer);
    if (n <= 0) return loop_->Stop();
    input_.append(buffer, static_cast<std::size_t>(n));
    for (std::size_t end; (end = input_.find('\n')) != input_.npos;) {
      std::istringstream words(input_.substr(0, end));
      input_.erase(0, end + 1);
      Carry(words);
    }
    CHECK(disk_->Submit());
    Reap();
  }

  void Carry(std::istringstream& words) {
    std::string verb;
    words >> verb;
    static const std::map<std::string, Op> kReservations = {{"register", Op::kRegister},
                                                            {"keys", Op::kRead},
                                                            {"preempt", Op::kPreemptAndAbort},
                                                            {"reserve", Op::kReserve}};
    if (const auto op = kReservations.find(verb); op != kReservations.end())
      return Reserve(op->second, words);
    if (verb == "nexus") return Rename(words);
    if (verb == "epoch") return Renew(words);
    if (verb == "go-on") return disk_->GoOn();
    if (verb == "abandon") return disk_->Abandon();
    if (verb == "state")
      return Say("state connected={} conflicted={}", disk_->connected(), disk_->conflicted());
    Start(verb, words);
  }

  void Rename(std::istringstream& words) {
    block::IscsiNexus nexus;
    words >> nexus.initiator >> nexus.isid >> nexus.qualifier;
    disk_->SetNexus(nexus);
  }

  void Renew(std::istringstream& words) {
    std::string stem;
    block::ReservationKey key = 0;
    words >> stem >> key;
    claims_->Set(stem, key);
  }

  void Reserve(Op op, std::istringstream& words) {
    block::ReservationCommand command;
    command.op = op;
    words >> command.mine >> command.other;
    disk_->Reserve(command, [](block::ReservationAnswer answer) {
      constexpr const char* kWords[] = {"good", "conflict", "unknown"};
      std::ranges::sort(answer.keys);
      Say("answer {} keys={} holder={} {}", kWords[static_cast<std::size_t>(answer.result)],
          fmt::join(answer.keys, ","), answer.holder, answer.note);
    });
  }

  void Start(const std::string& verb, std::istringstream& words) {
    static const std::map<std::string, BlockRequest::Op> kOps = {
        {"read", BlockRequest::Op::kRead},        {"write", BlockRequest::Op::kWrite},
        {"durable", BlockRequest::Op::kWrite},    {"flush", BlockRequest::Op::kFlush},
        {"discard", BlockRequest::Op::kDiscard},  {"zero", BlockRequest::Op::kWriteZeroes},
        {"unmap", BlockRequest::Op::kWriteZeroes}};
    BlockRequest request;
    unsigned byte = 0;
    request.op = kOps.at(verb);
    words >> request.tag >> request.offset >> request.length >> byte;
    request.durable = verb == "durable";
    request.may_unmap = verb == "unmap";
    Transfer& transfer = transfers_[request.tag];
    if (request.op == BlockRequest::Op::kRead || request.op == BlockRequest::Op::kWrite) {
      transfer.data.assign(request.length, static_cast<char>(byte));
      transfer.part = {transfer.data.data(), transfer.data.size()};
      request.iov = {&transfer.part, 1};
    }
    CHECK(disk_->HasRoom());
    disk_->Queue(request);
  }

  void Reap() {
    std::array<block::BlockCompletion, 8> completions;
    std::size_t n = 0;
    do {
      n = disk_->Reap(completions);
      for (std::size_t i = 0; i < n; ++i) Tell(completions[i]);
    } while (n == completions.size());
  }

  void Tell(const block::BlockCompletion& done) {
    const std::string data = std::move(transfers_[done.tag].data);
    transfers_.erase(done.tag);
    const bool same = std::ranges::all_of(data, [&](char c) { return c == data[0]; });
    Say("done {} {} {}", done.tag, done.result,
        data.empty() ? ""
        : same       ? fmt::format("{}", static_cast<unsigned char>(data[0]))
                     : "mixed");
  }

  EventLoop* loop_;
  std::unique_ptr<block::IscsiDisk> disk_;
  block::SharedClaim* claims_;
  std::map<std::uint64_t, Transfer> transfers_;
  std::string input_;
};

int Main(std::span<char*> words) {
  const auto number = [&](std::size_t i) {
    return static_cast<std::uint32_t>(std::strtoul(words[i], nullptr, 0));
  };
  auto dialer = launch::StartIscsiDialer("127.0.0.1", static_cast<std::uint16_t>(number(1)));
  CHECK(dialer.has_value());
  block::IscsiOptions options;
  options.dialer = std::move(dialer->vm_end);
  options.address.target = words[2];
  options.address.lun = static_cast<std::uint16_t>(number(3));
  options.nexus = {words[4], number(5), static_cast<std::uint16_t>(number(6))};
  block::SharedClaim claims;
  const std::string how = words[7];
  const bool own = how.starts_with("own:");
  if (own) claims.Set(words[4], std::strtoull(how.c_str() + 4, nullptr, 0));
  if (own) options.claims = &claims;
  if (own || how == "hold") options.conflict = block::IscsiOptions::Conflict::kHold;
  options.claims_only = how == "claim";
  options.on_conflict = [] { Say("conflict"); };
  options.patience = std::chrono::milliseconds(1000);
  if (words.size() > 9) {
    options.address.user = words[8];
    options.address.password = words[9];
  }
  auto disk = block::OpenIscsi(std::move(options));
  if (!disk) {
    Say("error {}", disk.error().message);
    return 1;
  }
  auto loop = EventLoop::Create();
  CHECK(loop.has_value());
  const Tool tool(loop->get(), std::move(*disk), &claims);
  (*loop)->Run();
  return 0;
}

}  // namespace
}  // namespace gemel

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  if (argc < 8) return 2;
  return gemel::Main({argv, static_cast<std::size_t>(argc)});
}
