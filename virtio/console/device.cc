#include "virtio/console/device.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "virtio/console/config_space.h"
#include "virtio/console/request.h"
#include "virtio/worker.h"

namespace gemel::virtio {
namespace {

constexpr std::uint16_t kQueueSize = 64;
// A port moves so many chains before other events have their turn.
constexpr int kChainsATurn = 32;
constexpr int kWritesATurn = 8;  // for one chain

// One port, and what its guest has still to be told. What is due is a flag and not a queue of
// messages, so that a driver cannot make it grow.
struct Port {
  Port(std::uint32_t port_number, std::string port_name, HostEnd::Fds fds)
      : number(port_number), name(std::move(port_name)), host(name, std::move(fds)) {}

  const std::uint32_t number;
  const std::string name;
  HostEnd host;

  // Of the current activation.
  ActiveQueue* rx = nullptr;
  ActiveQueue* tx = nullptr;
  std::optional<DescriptorChain> to_guest;  // a buffer of rx, taken for bytes that did not come
  std::optional<DescriptorChain> to_host;   // a chain of tx that the host takes no more of now
  std::size_t to_host_done = 0;
  std::uint64_t to_host_client = 0;  // who has had the beginning of it
  bool ready = false;                // the driver has made it
  bool guest_open = false;
  bool add_due = false;
  bool console_due = false;
  bool name_due = false;
  bool told_connected = false;
  std::uint64_t told_client = 0;

  // What the guest is to know: the console counts as connected always, because a guest must not
  // wait for somebody to look at it; between two clients a channel is not.
  bool Connected() const {
    if (number == 0) return true;
    return host.connected() && (!told_connected || told_client == host.client_number());
  }
  bool ControlDue() const {
    return add_due || (ready && (console_due || name_due || Connected() != told_connected));
  }
};

class Console final : public VirtioDevice, public Worker::Client {
 public:
  static Result<std::unique_ptr<VirtioDevice>> Create(ConsoleOptions options);

  DeviceType type() const override { return DeviceType::kConsole; }
  std::uint64_t features() const override { return kConsoleFeatureMultiport; }
  std::span<const std::uint16_t> queue_sizes() const override { return queue_sizes_; }
  void ReadConfig(std::uint32_t offset, std::span<std::byte> out) const override;
  void WriteConfig(std::uint32_t, std::span<const std::byte>) override {}  // nothing we offer
  Status Activate(Activation activation) override {
    return worker_->Activate(std::move(activation));
  }
  void Reset(std::function<void()> done) override { worker_->Reset(std::move(done)); }

  void OnStart(Activation& activation) override;
  void OnKick(ActiveQueue& queue) override;
  void OnStop(std::function<void()> stopped) override;

 private:
  explicit Console(ConsoleOptions options);
  void Pump(Port& port);
  bool PumpToGuest(Port& port);
  bool PumpToHost(Port& port);
  bool WriteOn(Port& port);
  Port* FindPort(std::uint32_t number);
  void TakeControl();
  void OnControl(const ConsoleControl& control);
  void SendControl();
  // The next message for the port, which then counts as sent. REQUIRES: one is due.
  std::string NextControl(Port& port);

  const std::string name_;
  std::vector<std::uint16_t> queue_sizes_;
  ConsoleConfigSpace config_{};

  // The worker's thread's alone.
  std::vector<std::unique_ptr<Port>> ports_;
  Activation* activation_ = nullptr;
  ActiveQueue* control_rx_ = nullptr;
  ActiveQueue* control_tx_ = nullptr;

  std::unique_ptr<Worker> worker_;  // last: calls us until it is joined
};

Result<std::unique_ptr<VirtioDevice>> Console::Create(ConsoleOptions options) {
  if (options.channels.size() > kMaxConsoleChannels)
    return InvalidArgument("channel: {} channels: more than {}", options.channels.size(),
                           kMaxConsoleChannels);
  Permit* const permit = options.permit;
  std::unique_ptr<Console> console(new Console(std::move(options)));
  ASSIGN_OR_RETURN(console->worker_,
                   Worker::Create(console->name_, console.get(), ThreadRole::kStream, permit));
  console->worker_->loop().Post([raw = console.get()] {
    for (const auto& port : raw->ports_)
      port->host.Watch(&raw->worker_->loop(), [raw, at = port.get()] { raw->Pump(*at); });
  });
  return console;
}

Console::Console(ConsoleOptions options) : name_(std::move(options.name)) {
  if (options.console)
    ports_.push_back(std::make_unique<Port>(0, name_, *std::move(options.console)));
  std::uint32_t number = 0;
  for (ConsoleOptions::Channel& channel : options.channels)
    ports_.push_back(
        std::make_unique<Port>(++number, std::move(channel.name), std::move(channel.fds)));
  config_.max_ports = number + 1;
  queue_sizes_.assign(2 * (std::size_t{number} + 2), kQueueSize);
}

void Console::ReadConfig(std::uint32_t offset, std::span<std::byte> out) const {
  std::memset(out.data(), 0, out.size());
  const auto bytes = std::as_bytes(std::span(&config_, 1));
  if (offset >= bytes.size()) return;
  const std::size_t n = std::min(out.size(), bytes.size() - offset);
  std::copy_n(bytes.begin() + offset, n, out.begin());
}

// ---- life ---------------------------------------------------------------------------------------

void Console::OnStart(Activation& activation) {
  activation_ = &activation;
  const bool multiport = (activation.features & kConsoleFeatureMultiport) != 0;
  for (ActiveQueue& queue : activation.queues) {
    if (multiport && queue.index == kConsoleControlRxQueue) control_rx_ = &queue;
    if (multiport && queue.index == kConsoleControlTxQueue) control_tx_ = &queue;
    for (const auto& port : ports_) {
      if (!multiport && port->number != 0) continue;
      if (queue.index == ConsoleRxQueue(port->number)) port->rx = &queue;
      if (queue.index == ConsoleRxQueue(port->number) + 1) port->tx = &queue;
    }
  }
  // A console is open from the start: drivers do not say so (5.3.6.2 leaves it to them).
  for (const auto& port : ports_) port->guest_open = port->number == 0;
}

// Clients on the host stay: the guest that comes up again is told of them.
void Console::OnStop(std::function<void()> stopped) {
  for (const auto& port : ports_) {
    port->to_guest.reset();
    port->to_host.reset();
    port->rx = port->tx = nullptr;
    port->ready = port->guest_open = port->told_connected = false;
    port->add_due = port->console_due = port->name_due = false;
  }
  control_rx_ = control_tx_ = nullptr;
  activation_ = nullptr;
  stopped();
}

void Console::OnKick(ActiveQueue& queue) {
  if (&queue == control_tx_) return TakeControl();
  if (&queue == control_rx_) return SendControl();
  for (const auto& port : ports_)
    if (&queue == port->rx || &queue == port->tx) return Pump(*port);
}

// ---- bytes --------------------------------------------------------------------------------------

void Console::Pump(Port& port) {
  if (!port.guest_open) port.host.DropIfGone();
  if (activation_ == nullptr || worker_->broken()) return;
  if (!PumpToGuest(port) || !PumpToHost(port)) return;
  SendControl();  // a client may have come or gone
}

// False if the queue broke.
bool Console::PumpToGuest(Port& port) {
  if (port.rx == nullptr || !port.guest_open) return true;
  VirtQueue& queue = *port.rx->queue;
  int left = kChainsATurn;
  do {
    queue.DisableNotification();
    for (; left > 0 && port.host.readable(); --left) {
      if (!port.to_guest) {
        auto popped = queue.Pop();
        if (!popped) {
          worker_->Break(*port.rx, popped.error());
          return false;
        }
        if (!popped->has_value()) break;
        port.to_guest.emplace(**std::move(popped));
      }
      const bool useless = port.to_guest->writable().empty();
      const std::size_t n = port.host.Read(port.to_guest->writable());
      if (n == 0 && !useless) continue;  // not readable any more
      DescriptorChain chain = *std::move(port.to_guest);
      port.to_guest.reset();
      std::move(chain).Complete(static_cast<std::uint32_t>(n));
    }
    // Kicks for buffers that nobody needs stay off.
  } while (left > 0 && port.host.readable() && queue.EnableNotification());
  if (queue.NeedsInterrupt()) port.rx->interrupt->Trigger();
  if (left == 0 && port.host.readable()) Worker::KickAgain(*port.rx);
  return true;
}

// Writes on with the chain that waits; true once it is gone. Another client than the one that had
// its beginning does not get its end.
bool Console::WriteOn(Port& port) {
  std::array<iovec, 128> rest;
  const std::span<const iovec> all = port.to_host->readable();
  const std::uint64_t length = IovLength(all);
  if (port.to_host_done > 0 && port.to_host_client != port.host.client_number())
    port.to_host_done = static_cast<std::size_t>(length);
  port.to_host_client = port.host.client_number();
  for (int i = 0; i < kWritesATurn && port.to_host_done < length; ++i) {
    const std::size_t used = CutIov(all, port.to_host_done, static_cast<std::size_t>(length), rest);
    const std::size_t n = port.host.Write(std::span(rest).first(used));
    if (n == 0) return false;
    port.to_host_done += n;
  }
  if (port.to_host_done < length) {
    Worker::KickAgain(*port.tx);
    return false;
  }
  DescriptorChain chain = *std::move(port.to_host);
  port.to_host.reset();
  std::move(chain).Complete(0);
  return true;
}

// False if the queue broke.
bool Console::PumpToHost(Port& port) {
  if (port.tx == nullptr) return true;
  VirtQueue& queue = *port.tx->queue;
  int left = kChainsATurn;
  bool stuck = false;
  do {
    queue.DisableNotification();
    for (; left > 0 && !stuck; --left) {
      if (!port.to_host) {
        auto popped = queue.Pop();
        if (!popped) {
          worker_->Break(*port.tx, popped.error());
          return false;
        }
        if (!popped->has_value()) break;
        port.to_host.emplace(**std::move(popped));
        port.to_host_done = 0;
      }
      stuck = !WriteOn(port);
    }
  } while (left > 0 && !stuck && queue.EnableNotification());
  if (queue.NeedsInterrupt()) port.tx->interrupt->Trigger();
  if (left == 0 && !stuck) Worker::KickAgain(*port.tx);
  return true;
}

// ---- control messages ---------------------------------------------------------------------------

Port* Console::FindPort(std::uint32_t number) {
  const auto at = std::ranges::find(ports_, number, [](const auto& port) { return port->number; });
  return at == ports_.end() ? nullptr : at->get();
}

void Console::TakeControl() {
  VirtQueue& queue = *control_tx_->queue;
  int left = kChainsATurn;
  do {
    queue.DisableNotification();
    for (; left > 0; --left) {
      auto popped = queue.Pop();
      if (!popped) return worker_->Break(*control_tx_, popped.error());
      if (!popped->has_value()) break;
      const DescriptorChain chain = **std::move(popped);
      if (const auto control = ParseConsoleControl(chain.readable())) OnControl(*control);
    }
  } while (left > 0 && queue.EnableNotification());
  if (queue.NeedsInterrupt()) control_tx_->interrupt->Trigger();
  if (left == 0) Worker::KickAgain(*control_tx_);
  SendControl();
}

// Ports that are not there and messages that are not a driver's are passed over.
void Console::OnControl(const ConsoleControl& control) {
  const auto event = static_cast<ConsoleEvent>(std::uint16_t{control.event});
  if (event == ConsoleEvent::kDeviceReady) {
    for (const auto& port : ports_) port->add_due = control.value == 1;
    return;
  }
  Port* const port = FindPort(control.port);
  if (port == nullptr) return;
  if (event == ConsoleEvent::kPortReady) {
    port->ready = control.value == 1;
    port->console_due = port->ready && port->number == 0;
    port->name_due = port->ready && port->number != 0;
    port->told_connected = false;
  }
  if (event == ConsoleEvent::kPortOpen && port->number != 0) {
    port->guest_open = control.value == 1;
    if (port->rx != nullptr) Worker::KickAgain(*port->rx);
  }
}

std::string Console::NextControl(Port& port) {
  if (std::exchange(port.add_due, false))
    return EncodeConsoleControl(port.number, ConsoleEvent::kDeviceAdd, 1);
  if (std::exchange(port.console_due, false))
    return EncodeConsoleControl(port.number, ConsoleEvent::kConsolePort, 1);
  if (std::exchange(port.name_due, false))
    return EncodeConsoleControl(port.number, ConsoleEvent::kPortName, 1, port.name);
  port.told_connected = port.Connected();
  port.told_client = port.host.client_number();
  return EncodeConsoleControl(port.number, ConsoleEvent::kPortOpen, port.told_connected ? 1 : 0);
}

// A message is made only once there is a buffer for it; one that is too short for it is a driver's
// mistake, and loses it.
void Console::SendControl() {
  if (control_rx_ == nullptr || worker_->broken()) return;
  VirtQueue& queue = *control_rx_->queue;
  const auto is_due = [](const auto& port) { return port->ControlDue(); };
  do {
    queue.DisableNotification();
    for (auto port = std::ranges::find_if(ports_, is_due); port != ports_.end();
         port = std::ranges::find_if(ports_, is_due)) {
      auto popped = queue.Pop();
      if (!popped) return worker_->Break(*control_rx_, popped.error());
      if (!popped->has_value()) break;
      DescriptorChain chain = **std::move(popped);
      const std::string bytes = NextControl(**port);
      const std::size_t n = CopyToIov(chain.writable(), 0, std::as_bytes(std::span(bytes)));
      std::move(chain).Complete(static_cast<std::uint32_t>(n));
    }
  } while (std::ranges::any_of(ports_, is_due) && queue.EnableNotification());
  if (queue.NeedsInterrupt()) control_rx_->interrupt->Trigger();
}

}  // namespace

Result<std::unique_ptr<VirtioDevice>> CreateConsole(ConsoleOptions options) {
  return Console::Create(std::move(options));
}

}  // namespace gemel::virtio
