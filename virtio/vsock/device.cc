#include "virtio/vsock/device.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include "base/log.h"
#include "virtio/vsock/config_space.h"
#include "virtio/vsock/packet.h"
#include "virtio/worker.h"

namespace gemel::virtio {
namespace {

constexpr std::uint16_t kQueueSize = 256;
// So many packets move before other events have their turn: at most 4 MiB of copies.
constexpr int kPacketsATurn = 64;

class Vsock final : public VirtioDevice, public Worker::Client, private VsockSwitchboard::Client {
 public:
  static Result<std::unique_ptr<VirtioDevice>> Create(VsockSwitchboard::Options options);

  DeviceType type() const override { return DeviceType::kVsock; }
  std::uint64_t features() const override { return kVsockFeatureStream; }
  std::span<const std::uint16_t> queue_sizes() const override { return kQueueSizes; }
  void ReadConfig(std::uint32_t offset, std::span<std::byte> out) const override;
  void WriteConfig(std::uint32_t, std::span<const std::byte>) override {}  // nothing is writable
  Status Activate(Activation activation) override {
    return worker_->Activate(std::move(activation));
  }
  void Reset(std::function<void()> done) override { worker_->Reset(std::move(done)); }

  void OnStart(Activation& activation) override;
  void OnKick(ActiveQueue& queue) override;
  void OnStop(std::function<void()> stopped) override;

 private:
  static constexpr std::array kQueueSizes{kQueueSize, kQueueSize, std::uint16_t{16}};

  Vsock(std::string name, std::uint32_t guest_cid) : name_(std::move(name)), config_{guest_cid} {}
  void OnVsockOutput() override { PumpRx(); }
  bool FillRx(int& left);
  void PumpRx();
  void PumpTx();
  void Break(const ActiveQueue& queue, QueueError error);

  const std::string name_;
  const VsockConfigSpace config_;

  // The worker's thread's alone.
  ActiveQueue* rx_ = nullptr;  // of the current activation; a driver may have left either off
  ActiveQueue* tx_ = nullptr;
  std::optional<DescriptorChain> buffer_;  // of rx_: taken for a packet that did not come
  bool tx_waits_ = false;                  // for RSTs to find buffers of the guest

  std::unique_ptr<VsockSwitchboard> switchboard_;
  std::unique_ptr<Worker> worker_;  // last: calls us until it is joined
};

Result<std::unique_ptr<VirtioDevice>> Vsock::Create(VsockSwitchboard::Options options) {
  if (options.guest_cid < kVsockLeastGuestCid || options.guest_cid > kVsockMostGuestCid)
    return InvalidArgument("cid: {}: not from {} to {}", options.guest_cid, kVsockLeastGuestCid,
                           kVsockMostGuestCid);
  std::unique_ptr<Vsock> vsock(new Vsock(options.name, options.guest_cid));
  ASSIGN_OR_RETURN(vsock->worker_,
                   Worker::Create(vsock->name_, vsock.get(), ThreadRole::kStream, options.permit));
  ASSIGN_OR_RETURN(
      vsock->switchboard_,
      VsockSwitchboard::Create(std::move(options), &vsock->worker_->loop(), vsock.get()));
  return vsock;
}

void Vsock::ReadConfig(std::uint32_t offset, std::span<std::byte> out) const {
  std::memset(out.data(), 0, out.size());
  const auto bytes = std::as_bytes(std::span(&config_, 1));
  if (offset >= bytes.size()) return;
  const std::size_t n = std::min(out.size(), bytes.size() - offset);
  std::copy_n(bytes.begin() + offset, n, out.begin());
}

void Vsock::OnStart(Activation& activation) {
  for (ActiveQueue& queue : activation.queues) {
    if (queue.index == kVsockRxQueue) rx_ = &queue;
    if (queue.index == kVsockTxQueue) tx_ = &queue;
  }
  const Status opened = switchboard_->Open();
  if (opened) return;
  LOG(kError, name_, "{}", opened.error().message);
  rx_ = tx_ = nullptr;
  activation.needs_reset();
}

void Vsock::OnStop(std::function<void()> stopped) {
  switchboard_->Close();
  buffer_.reset();
  rx_ = tx_ = nullptr;
  tx_waits_ = false;
  stopped();
}

void Vsock::OnKick(ActiveQueue& queue) {
  if (&queue == rx_) PumpRx();
  if (&queue == tx_) PumpTx();
}

void Vsock::Break(const ActiveQueue& queue, QueueError error) {
  worker_->Break(queue, error);
  switchboard_->Close();
}

void Vsock::PumpTx() {
  VirtQueue& queue = *tx_->queue;
  int left = kPacketsATurn;
  do {
    queue.DisableNotification();
    for (; left > 0 && switchboard_->HasRoomForPacket(); --left) {
      auto popped = queue.Pop();
      if (!popped) return Break(*tx_, popped.error());
      if (!popped->has_value()) break;
      const DescriptorChain chain = **std::move(popped);
      if (const auto header = ParseVsockPacket(chain.readable()))
        switchboard_->OnPacket(*header, chain.readable());
    }
    tx_waits_ = !switchboard_->HasRoomForPacket();
  } while (left > 0 && !tx_waits_ && queue.EnableNotification());
  if (queue.NeedsInterrupt()) tx_->interrupt->Trigger();
  if (left == 0 && !tx_waits_) Worker::KickAgain(*tx_);
  PumpRx();
}

// Gives packets to the guest while both are there. False if the queue broke.
bool Vsock::FillRx(int& left) {
  for (; left > 0 && switchboard_->HasPacket(); --left) {
    if (!buffer_) {
      auto popped = rx_->queue->Pop();
      if (!popped) {
        Break(*rx_, popped.error());
        return false;
      }
      if (!popped->has_value()) return true;
      buffer_.emplace(**std::move(popped));
    }
    // A buffer that no payload fits in is of no use, and goes back.
    const bool fits = IovLength(buffer_->writable()) > sizeof(VsockHeader);
    const std::uint32_t written = fits ? switchboard_->MakePacket(buffer_->writable()) : 0;
    if (fits && written == 0) continue;
    DescriptorChain chain = *std::move(buffer_);
    buffer_.reset();
    std::move(chain).Complete(written);
  }
  return true;
}

void Vsock::PumpRx() {
  if (rx_ == nullptr || worker_->broken()) return;
  VirtQueue& queue = *rx_->queue;
  int left = kPacketsATurn;
  do {
    queue.DisableNotification();
    if (!FillRx(left)) return;
    // Kicks for buffers that nobody needs stay off.
  } while (left > 0 && switchboard_->HasPacket() && queue.EnableNotification());
  if (queue.NeedsInterrupt()) rx_->interrupt->Trigger();
  if (left == 0 && switchboard_->HasPacket()) Worker::KickAgain(*rx_);
  if (tx_waits_ && switchboard_->HasRoomForPacket()) Worker::KickAgain(*tx_);
}

}  // namespace

Result<std::unique_ptr<VirtioDevice>> CreateVsock(VsockSwitchboard::Options options) {
  return Vsock::Create(std::move(options));
}

}  // namespace gemel::virtio
