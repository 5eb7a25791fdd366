#include "virtio/blk/device.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "base/gate.h"
#include "base/log.h"
#include "virtio/blk/config_space.h"
#include "virtio/blk/request.h"
#include "virtio/worker.h"

namespace gemel::virtio {
namespace {

using block::BlockCompletion;
using Kind = BlkRequest::Kind;
using Op = block::BlockRequest::Op;

constexpr std::uint16_t kQueueSize = 256;
constexpr std::uint16_t kMaxQueues = 64;
// Segments of data in a request; with header and status they fill the transport's 128 a chain.
constexpr std::uint32_t kSegMax = 126;
// So many requests are started before other events have their turn, whatever the guest does.
constexpr int kRequestsATurn = 1024;
constexpr std::int64_t kBetweenReportsNs = 10'000'000'000;

// A request whose chain the backend works on.
struct InFlight {
  std::optional<DescriptorChain> chain;
  BlkRequest request;
  std::int64_t begun_ns = 0;
  std::vector<iovec> storage;  // only for drivers that put status or header beside data
};

// A queue of the current activation. A chain's head numbers its slot: heads in flight are distinct.
struct Queue {
  ActiveQueue* active = nullptr;
  std::vector<InFlight> in_flight;
  bool completed = false;  // since the driver was last asked whether it wants an interrupt
};

class Blk final : public VirtioDevice, public Worker::Client {
 public:
  static Result<std::unique_ptr<VirtioDevice>> Create(BlkOptions options);

  DeviceType type() const override { return DeviceType::kBlock; }
  std::uint64_t features() const override { return features_; }
  std::span<const std::uint16_t> queue_sizes() const override { return queue_sizes_; }
  void ReadConfig(std::uint32_t offset, std::span<std::byte> out) const override;
  void WriteConfig(std::uint32_t, std::span<const std::byte>) override {}  // nothing is writable
  Status Activate(Activation activation) override {
    return worker_->Activate(std::move(activation));
  }
  void Reset(std::function<void()> done) override { worker_->Reset(std::move(done)); }

  void OnStart(Activation& activation) override;
  void OnKick(ActiveQueue& queue) override;
  void OnStop(std::function<void()> stopped) override;
  std::size_t Outstanding() const override { return backend_->in_flight(); }
  void OnPermitOver() override { backend_->OnPermitOver(); }
  void OnPermitRenewed() override;

 private:
  enum class Stop : std::uint8_t { kEmpty, kNoRoom, kTurnOver, kBroken };

  explicit Blk(BlkOptions options);
  void OnCompletion();
  void Pump(Queue& queue);
  Stop Fill(Queue& queue, int& left);
  void Begin(Queue& queue, DescriptorChain chain);
  void StartIo(Queue& queue, DescriptorChain chain, const BlkRequest& request);
  bool WriteThrough(BlkRequest::Kind kind) const;
  std::size_t Reap();
  void Complete(const BlockCompletion& completion, std::int64_t now_ns);
  void Fail(const BlkRequest& request, int error, std::int64_t now_ns);
  void Answer(Queue& queue, DescriptorChain chain, BlkStatus status, std::uint32_t data_written);
  void AnswerId(Queue& queue, DescriptorChain chain, std::uint64_t room);
  void Interrupt();
  void Leave(std::size_t completions);
  void Count(const BlkRequest& request, std::int64_t took_ns);

  const std::string name_;
  std::array<std::byte, kBlkIdBytes> id_{};
  const std::unique_ptr<block::BlockBackend> backend_;
  BlkCounters own_counters_;
  BlkCounters& counters_;
  const std::function<void(const BlkTrouble&)> on_trouble_;
  std::vector<std::uint16_t> queue_sizes_;
  std::uint64_t features_ = 0;
  BlkConfig config_{};

  // The worker's thread's alone.
  BlkLimits limits_;
  std::vector<Queue> queues_;  // by queue number; those that the driver left off are empty
  bool watched_ = false;       // completions reach us; without that nothing is started
  bool queued_ = false;        // the backend has requests that were not submitted
  // One reading of the clock for a batch of requests, which are begun at once.
  std::int64_t batch_ns_ = 0;
  std::uint64_t unreported_ = 0;
  std::int64_t report_after_ns_ = 0;
  Gate gate_;

  std::unique_ptr<Worker> worker_;  // last: calls us until it is joined
};

std::uint64_t OfferedFeatures(const block::BlockBackend& backend, std::uint16_t num_queues) {
  std::uint64_t features =
      kBlkFeatureSegMax | kBlkFeatureBlkSize | kBlkFeatureFlush | kBlkFeatureTopology;
  if (num_queues > 1) features |= kBlkFeatureMq;
  if (backend.read_only()) return features | kBlkFeatureReadOnly;
  features |= kBlkFeatureWriteZeroes;
  if (backend.topology().discard_granularity != 0) features |= kBlkFeatureDiscard;
  return features;
}

BlkConfig MakeConfig(const block::BlockBackend& backend, std::uint64_t features,
                     std::uint16_t num_queues) {
  const block::BlockTopology topology = backend.topology();
  const std::uint32_t ratio = topology.physical_block_size / topology.logical_block_size;
  BlkConfig config{};
  config.capacity = backend.size() / kSectorBytes;
  config.seg_max = kSegMax;
  config.blk_size = topology.logical_block_size;
  config.physical_block_exp = static_cast<std::uint8_t>(std::countr_zero(ratio));
  config.min_io_size = static_cast<std::uint16_t>(std::min(ratio, 0xffffu));
  config.opt_io_size = topology.optimal_io_size / topology.logical_block_size;
  if (num_queues > 1) config.num_queues = num_queues;
  if ((features & kBlkFeatureDiscard) != 0) {
    config.max_discard_sectors = kMaxRangeSectors;
    config.max_discard_seg = 1;
    config.discard_sector_alignment =
        std::max(topology.discard_granularity, topology.logical_block_size) / kSectorBytes;
    config.write_zeroes_may_unmap = 1;
  }
  if ((features & kBlkFeatureWriteZeroes) != 0) {
    config.max_write_zeroes_sectors = kMaxRangeSectors;
    config.max_write_zeroes_seg = 1;
  }
  return config;
}

// One writer, so no locked instruction.
void Add(std::atomic<std::uint64_t>& counter, std::uint64_t n) {
  counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
}

std::uint64_t Tag(const Queue& queue, const DescriptorChain& chain) {
  return std::uint64_t{queue.active->index} << 16 | chain.head();
}

Result<std::unique_ptr<VirtioDevice>> Blk::Create(BlkOptions options) {
  CHECK(options.backend != nullptr);
  if (options.serial.size() > kBlkIdBytes)
    return InvalidArgument("serial: {}: {} bytes, more than {}", options.serial,
                           options.serial.size(), kBlkIdBytes);
  if (options.num_queues == 0 || options.num_queues > kMaxQueues)
    return InvalidArgument("queues: {}: not from 1 to {}", options.num_queues, kMaxQueues);
  Permit* const permit = options.permit;
  std::unique_ptr<Blk> blk(new Blk(std::move(options)));
  ASSIGN_OR_RETURN(blk->worker_, Worker::Create(blk->name_, blk.get(), ThreadRole::kDisk, permit));
  return blk;
}

Blk::Blk(BlkOptions options)
    : name_(std::move(options.name)),
      backend_(std::move(options.backend)),
      counters_(options.counters != nullptr ? *options.counters : own_counters_),
      on_trouble_(std::move(options.on_trouble)),
      queue_sizes_(options.num_queues, kQueueSize),
      features_(OfferedFeatures(*backend_, options.num_queues)),
      config_(MakeConfig(*backend_, features_, options.num_queues)),
      queues_(options.num_queues) {
  std::memcpy(id_.data(), options.serial.data(), options.serial.size());
}

void Blk::ReadConfig(std::uint32_t offset, std::span<std::byte> out) const {
  std::memset(out.data(), 0, out.size());
  const auto bytes = std::as_bytes(std::span(&config_, 1));
  if (offset >= bytes.size()) return;
  const std::size_t n = std::min(out.size(), bytes.size() - offset);
  std::copy_n(bytes.begin() + offset, n, out.begin());
}

void Blk::OnStart(Activation& activation) {
  limits_ = {.capacity = backend_->size(),
             .logical_block_size = backend_->topology().logical_block_size,
             .read_only = backend_->read_only(),
             .features = activation.features};
  for (ActiveQueue& active : activation.queues) {
    Queue& queue = queues_[active.index];
    queue.active = &active;
    queue.in_flight.resize(active.queue->size());
  }
  gate_.Open();
  const Status watched = worker_->loop().Watch(backend_->completion_fd(), EPOLLIN,
                                               [this](std::uint32_t) { OnCompletion(); });
  watched_ = watched.has_value();
  if (watched_) return;
  LOG(kError, name_, "completions cannot be watched: {}", watched.error().message);
  activation.needs_reset();
}

void Blk::OnStop(std::function<void()> stopped) {
  gate_.Close([this, stopped = std::move(stopped)] {
    worker_->loop().Unwatch(backend_->completion_fd());
    for (Queue& queue : queues_) queue = Queue{};
    stopped();
  });
  backend_->Abandon();
}

void Blk::OnKick(ActiveQueue& active) {
  if (watched_) Pump(queues_[active.index]);
}

// What the backend held goes on, also that of a driver which is resetting the device meanwhile.
void Blk::OnPermitRenewed() {
  if (!watched_) return;
  if (const Status submitted = backend_->Submit(); !submitted)
    LOG(kWarning, name_, "{}", submitted.error().message);
  OnCompletion();
}

void Blk::OnCompletion() {
  const std::size_t completions = Reap();
  Interrupt();
  // Chains that found no room before may find it now.
  if (!gate_.closed() && completions > 0) {
    for (Queue& queue : queues_)
      if (queue.active != nullptr && !worker_->broken()) Pump(queue);
  }
  Leave(completions);
}

// Starts what the driver offers until there is no more, or no room: then a completion comes back.
void Blk::Pump(Queue& queue) {
  int left = kRequestsATurn;
  std::size_t completions = 0;
  while (true) {
    queue.active->queue->DisableNotification();
    batch_ns_ = MonotonicNs();
    const Stop stop = Fill(queue, left);
    if (std::exchange(queued_, false)) {
      if (const Status submitted = backend_->Submit(); !submitted)
        LOG(kWarning, name_, "{}", submitted.error().message);
      completions += Reap();
    }
    Interrupt();
    if (stop == Stop::kBroken) break;
    if (stop == Stop::kNoRoom && !backend_->HasRoom()) break;
    if (stop == Stop::kEmpty && !queue.active->queue->EnableNotification()) break;
    if (stop == Stop::kTurnOver) {
      Worker::KickAgain(*queue.active);
      break;
    }
  }
  Leave(completions);
}

Blk::Stop Blk::Fill(Queue& queue, int& left) {
  while (backend_->HasRoom()) {
    if (left-- <= 0) return Stop::kTurnOver;
    auto popped = queue.active->queue->Pop();
    if (!popped) {
      worker_->Break(*queue.active, popped.error());
      return Stop::kBroken;
    }
    if (!popped->has_value()) return Stop::kEmpty;
    Begin(queue, **std::move(popped));
  }
  return Stop::kNoRoom;
}

void Blk::Begin(Queue& queue, DescriptorChain chain) {
  if (IovLength(chain.writable()) == 0) {
    LOG(kWarning, name_, "a request without room for its status");
    Add(counters_.errors, 1);
    queue.completed = true;
    return std::move(chain).Complete(0);
  }
  const auto request = ParseBlkRequest(chain.readable(), chain.writable(), limits_);
  if (!request) return Answer(queue, std::move(chain), request.error(), 0);
  if (request->kind == Kind::kGetId) return AnswerId(queue, std::move(chain), request->length);
  StartIo(queue, std::move(chain), *request);
}

Op OpOf(Kind kind) {
  switch (kind) {
    case Kind::kRead:
      return Op::kRead;
    case Kind::kWrite:
      return Op::kWrite;
    case Kind::kDiscard:
      return Op::kDiscard;
    case Kind::kWriteZeroes:
      return Op::kWriteZeroes;
    case Kind::kFlush:
    case Kind::kGetId:
      break;
  }
  return Op::kFlush;
}

// Without FLUSH a driver has no way to make its writes safe later (5.2.6.2).
bool Blk::WriteThrough(Kind kind) const {
  return (limits_.features & kBlkFeatureFlush) == 0 &&
         (kind == Kind::kWrite || kind == Kind::kWriteZeroes);
}

void Blk::StartIo(Queue& queue, DescriptorChain chain, const BlkRequest& request) {
  InFlight& slot = queue.in_flight[chain.head()];
  CHECK(!slot.chain.has_value());
  block::BlockRequest io{.op = OpOf(request.kind),
                         .offset = request.offset,
                         .length = request.length,
                         .may_unmap = request.may_unmap,
                         .durable = WriteThrough(request.kind),
                         .tag = Tag(queue, chain)};
  if (request.kind == Kind::kRead)
    io.iov = SliceIov(chain.writable(), 0, request.length, slot.storage);
  if (request.kind == Kind::kWrite)
    io.iov = SliceIov(chain.readable(), sizeof(BlkRequestHeader), request.length, slot.storage);
  slot.request = request;
  slot.begun_ns = batch_ns_;
  slot.chain.emplace(std::move(chain));
  gate_.Enter();
  backend_->Queue(io);
  queued_ = true;
}

// Returns how many requests ended: the gate is left for them only when nothing here touches the
// activation any more, because the last to leave after a reset drops it.
std::size_t Blk::Reap() {
  std::array<BlockCompletion, 64> completions;
  std::size_t total = 0;
  std::size_t n = 0;
  do {
    n = backend_->Reap(completions);
    if (n == 0) break;
    const std::int64_t now_ns = MonotonicNs();
    for (std::size_t i = 0; i < n; ++i) Complete(completions[i], now_ns);
    total += n;
  } while (n == completions.size());
  return total;
}

void Blk::Complete(const BlockCompletion& completion, std::int64_t now_ns) {
  Queue& queue = queues_[completion.tag >> 16];
  InFlight& slot = queue.in_flight[completion.tag & 0xffff];
  CHECK(slot.chain.has_value());
  DescriptorChain chain = *std::move(slot.chain);
  slot.chain.reset();
  const BlkRequest& request = slot.request;
  if (completion.result < 0) {
    Fail(request, static_cast<int>(-completion.result), now_ns);
    return Answer(queue, std::move(chain), BlkStatus::kIoError, 0);
  }
  Count(request, now_ns - slot.begun_ns);
  const bool read = request.kind == Kind::kRead;
  Answer(queue, std::move(chain), BlkStatus::kOk,
         read ? static_cast<std::uint32_t>(request.length) : 0);
}

void Blk::Fail(const BlkRequest& request, int error, std::int64_t now_ns) {
  Add(counters_.io_errors, 1);
  ++unreported_;
  if (on_trouble_ == nullptr || now_ns < report_after_ns_) {
    LOG(kWarning, name_, "{} of {} bytes at {}: {}", ToString(request.kind), request.length,
        request.offset, strerror(error));
    return;
  }
  report_after_ns_ = now_ns + kBetweenReportsNs;
  BlkTrouble trouble{fmt::format("{} of {} bytes at {}: {}", ToString(request.kind), request.length,
                                 request.offset, strerror(error)),
                     std::exchange(unreported_, 0)};
  LOG(kWarning, name_, "{}", trouble.what);
  on_trouble_(trouble);
}

// `data_written`: bytes in front of the status that hold data. The used length counts what was
// written without a gap from the front (2.7.8.2), so the status is in it only if nothing before it
// was left out.
void Blk::Answer(Queue& queue, DescriptorChain chain, BlkStatus status,
                 std::uint32_t data_written) {
  const std::uint64_t room = IovLength(chain.writable()) - 1;
  const auto byte = static_cast<std::byte>(status);
  CopyToIov(chain.writable(), static_cast<std::size_t>(room), {&byte, 1});
  if (status != BlkStatus::kOk) Add(counters_.errors, 1);
  queue.completed = true;
  std::move(chain).Complete(data_written + (data_written == room ? 1u : 0u));
}

void Blk::AnswerId(Queue& queue, DescriptorChain chain, std::uint64_t room) {
  const std::size_t n = std::min<std::uint64_t>(room, id_.size());
  CopyToIov(chain.writable(), 0, std::span(id_).first(n));
  Answer(queue, std::move(chain), BlkStatus::kOk, static_cast<std::uint32_t>(n));
}

void Blk::Interrupt() {
  for (Queue& queue : queues_) {
    if (!std::exchange(queue.completed, false)) continue;
    if (queue.active->queue->NeedsInterrupt()) queue.active->interrupt->Trigger();
  }
}

void Blk::Leave(std::size_t completions) {
  for (std::size_t i = 0; i < completions; ++i) gate_.Leave();
}

void Blk::Count(const BlkRequest& request, std::int64_t took_ns) {
  const auto took = static_cast<std::uint64_t>(std::max<std::int64_t>(took_ns, 0));
  switch (request.kind) {
    case Kind::kRead:
      Add(counters_.reads, 1);
      Add(counters_.read_ns, took);
      return Add(counters_.bytes_read, request.length);
    case Kind::kWrite:
      Add(counters_.writes, 1);
      Add(counters_.write_ns, took);
      return Add(counters_.bytes_written, request.length);
    case Kind::kFlush:
      Add(counters_.flush_ns, took);
      return Add(counters_.flushes, 1);
    case Kind::kDiscard:
      return Add(counters_.discards, 1);
    case Kind::kWriteZeroes:
      return Add(counters_.write_zeroes, 1);
    case Kind::kGetId:
      return;
  }
}

}  // namespace

Result<std::unique_ptr<VirtioDevice>> CreateBlk(BlkOptions options) {
  return Blk::Create(std::move(options));
}

std::vector<std::pair<std::string, std::uint64_t>> List(const BlkCounters& counters) {
  const auto get = [](const std::atomic<std::uint64_t>& c) {
    return c.load(std::memory_order_relaxed);
  };
  return {{"reads", get(counters.reads)},
          {"writes", get(counters.writes)},
          {"bytes_read", get(counters.bytes_read)},
          {"bytes_written", get(counters.bytes_written)},
          {"flushes", get(counters.flushes)},
          {"discards", get(counters.discards)},
          {"write_zeroes", get(counters.write_zeroes)},
          {"errors", get(counters.errors)},
          {"io_errors", get(counters.io_errors)},
          {"read_ns", get(counters.read_ns)},
          {"write_ns", get(counters.write_ns)},
          {"flush_ns", get(counters.flush_ns)}};
}

}  // namespace gemel::virtio
