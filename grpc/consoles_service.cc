#include "grpc/consoles_service.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <deque>
#include <span>
#include <utility>

#include "base/load_le.h"
#include "grpc/access/server_tls.h"
#include "grpc/remote_console.h"

namespace gemel::daemon {
namespace {

constexpr std::size_t kChunk = 32 << 10;
constexpr std::size_t kMaxInput = 64 << 10;
constexpr std::int64_t kQuietMs = 300;  // after this, nothing older is to come
constexpr std::size_t kOffsetBytes = 8;
constexpr std::int64_t kRightsMs = 1000;  // how long a session without traffic outlives its rights

using Reactor = grpc::ServerBidiReactor<v1::AttachConsoleRequest, v1::AttachConsoleResponse>;

}  // namespace

// One stream. Everything happens on the manager loop; gRPC's callbacks post to it.
class ConsoleSession : public std::enable_shared_from_this<ConsoleSession> {
 public:
  ConsoleSession(ServiceContext* services, ConsoleWriters* writers, Reactor* reactor,
                 grpc::CallbackServerContext* context)
      : services_(services), writers_(writers), reactor_(reactor), context_(context) {}

  // For the reactor, which reads into and writes out of these.
  v1::AttachConsoleRequest request;
  v1::AttachConsoleResponse response;

  void OnRequest(bool ok);
  void OnWritten(bool ok);
  void End(const grpc::Status& status);

 private:
  void OnAllSaid();
  void Open(const v1::OpenConsole& open);
  void OpenElsewhere(const std::string& node);
  void PassOn();
  void TakeWriter(bool take_over);
  bool StillAllowed();
  void WatchRights();
  void Recorded();
  Reactor* LetGo();
  void Deny(const ApiError& error);
  bool Connect(std::uint64_t from);
  void BecomeWriter(bool take_over);
  void TellWriter(const std::string& who, bool self);
  void Input(const std::string& bytes);
  void FlushInput();
  void OnReady(std::uint32_t events);
  void TakeOutput();
  void Forward(const char* bytes, std::size_t size);
  void OnDisconnected();
  void Send(v1::AttachConsoleResponse next);
  void Pump();
  void Watch();

  ServiceContext* const services_;
  ConsoleWriters* const writers_;
  Reactor* reactor_;                      // null: finished
  grpc::CallbackServerContext* context_;  // as long as the reactor
  access::Caller caller_;
  access::PeerFacts facts_;
  std::string name_;
  VmUid uid_;
  UniqueFd hub_;
  std::shared_ptr<RemoteConsole>
      remote_;  // of a machine that another node has; then there is no hub_
  bool opened_ = false;
  bool told_ = false;     // the client knows
  bool watched_ = false;  // hub_ is
  bool follow_ = false;
  bool writing_ = false;  // a message is on its way to the client
  bool ending_ = false;   // when the outbox is empty, with last_
  grpc::Status last_;
  int records_ = 0;  // of this session that are not on the disk: nothing is sent before
  std::string offset_bytes_;
  std::uint64_t next_offset_ = 0;
  std::string input_;  // that the hub has not taken yet
  std::deque<v1::AttachConsoleResponse> outbox_;
  Timers::Id quiet_ = 0;
  Timers::Id rights_ = 0;
};

std::shared_ptr<ConsoleSession> ConsoleWriters::Of(const std::string& uid) const {
  const auto found = writers_.find(uid);
  return found == writers_.end() ? nullptr : found->second.lock();
}

void ConsoleWriters::Set(const std::string& uid, const std::shared_ptr<ConsoleSession>& session) {
  writers_[uid] = session;
}

void ConsoleWriters::Drop(const std::string& uid, const ConsoleSession* session) {
  const auto found = writers_.find(uid);
  if (found != writers_.end() && (found->second.expired() || found->second.lock().get() == session))
    writers_.erase(found);
}

void ConsoleSession::OnRequest(bool ok) {
  if (reactor_ == nullptr) return;
  if (!ok) return OnAllSaid();
  if (request.has_open() == opened_)
    return End(ToGrpc(InvalidField("open", opened_ ? "only first" : "missing: it comes first")));
  if (remote_ != nullptr) return PassOn();
  if (request.has_open()) Open(request.open());
  if (remote_ != nullptr) return;  // which reads on once the request has been passed on
  if (request.message_case() == v1::AttachConsoleRequest::kInput) Input(request.input());
  if (request.has_take_writer()) TakeWriter(request.take_writer().take_over());
  if (reactor_ != nullptr && input_.empty()) reactor_->StartRead(&request);
}

// Or the client is gone, which OnCancel tells.
void ConsoleSession::OnAllSaid() {
  if (!opened_) return End(grpc::Status::OK);
  if (remote_ != nullptr) return remote_->EndOfInput();
  writers_->Drop(uid_, this);
}

void ConsoleSession::Open(const v1::OpenConsole& open) {
  using access::Permission;
  facts_ = access::FactsOf(*context_);
  auto caller =
      services_->gate->Admit(*context_, "Consoles/Attach",
                             open.write() ? Permission::kConsole : Permission::kRead, open.name());
  if (!caller) return Deny(caller.error());
  caller_ = std::move(*caller);
  name_ = open.name();
  if (const std::string node = NodeToAsk(services_, caller_, name_); !node.empty())
    return OpenElsewhere(node);
  auto uid = services_->manager->UidOf(name_);
  if (!uid) return End(ToGrpc(uid.error()));
  uid_ = *uid;
  follow_ = open.follow();
  opened_ = true;
  services_->gate->Record(caller_, "Consoles/Attach", name_, "", nullptr);
  Recorded();
  if (open.write()) {
    BecomeWriter(open.take_over());
    if (reactor_ == nullptr) return;
  }
  if (!Connect(open.has_offset() ? open.offset() : 0) && reactor_ != nullptr)
    return End(ToGrpc(WrongState(name_, name_ + " does not run")));
  WatchRights();
}

// All that is said is passed on from here: the other node knows who writes.
void ConsoleSession::OpenElsewhere(const std::string& node) {
  opened_ = true;
  auto channel = services_->forwarder->ChannelTo(node);
  services_->gate->RecordForwarded(caller_, "Consoles/Attach", name_, "", node,
                                   channel ? nullptr : &channel.error());
  if (!channel) return Deny(channel.error());
  Recorded();
  RemoteConsole::Events events;
  // Dropped with the reactor (LetGo), before this session goes.
  events.on_response = [this](v1::AttachConsoleResponse next) { Send(std::move(next)); };
  events.on_written = [this] { reactor_->StartRead(&request); };
  events.on_end = [this, node](const grpc::Status& status) {
    ending_ = true;
    if (!status.ok()) last_ = ToGrpc(Forwarder::Explain(node, status));
    Pump();
  };
  remote_ =
      RemoteConsole::Begin(services_->loop, *channel, Forwarder::ContextFor(*context_, caller_),
                           std::move(events), services_->forwarder->streams());
  remote_->Write(request);
  remote_->Next();
  WatchRights();
}

// What the client said next. Reading alone is asked for again each second, writing with each message.
void ConsoleSession::PassOn() {
  if (!StillAllowed()) return;
  const Status writes = services_->gate->doorman().StillAdmitted(
      facts_, DescribeCall("Consoles/Write", access::Permission::kConsole, name_));
  if (!writes) {
    const ApiError error = FromError(writes.error(), access::CodeName(writes.error().code));
    services_->gate->Record(caller_, "Consoles/Write", name_, "", &error);
    return Deny(error);
  }
  remote_->Write(request);
}

void ConsoleSession::TakeWriter(bool take_over) {
  auto caller =
      services_->gate->Admit(*context_, "Consoles/Write", access::Permission::kConsole, name_);
  if (!caller) return Deny(caller.error());
  BecomeWriter(take_over);
}

// Ends the session if its caller may not even read any more; if writing alone is gone, it reads on.
bool ConsoleSession::StillAllowed() {
  using access::Permission;
  if (reactor_ == nullptr) return false;
  const access::Doorman& doorman = services_->gate->doorman();
  const Status reads =
      doorman.StillAdmitted(facts_, DescribeCall("Consoles/Attach", Permission::kRead, name_));
  if (!reads) {
    const ApiError error = FromError(reads.error(), access::CodeName(reads.error().code));
    services_->gate->Record(caller_, "Consoles/Attach", name_, "", &error);
    Deny(error);
    return false;
  }
  if (writers_->Of(uid_).get() != this) return true;
  const Status writes =
      doorman.StillAdmitted(facts_, DescribeCall("Consoles/Write", Permission::kConsole, name_));
  if (writes) return true;
  const ApiError error = FromError(writes.error(), access::CodeName(writes.error().code));
  services_->gate->Record(caller_, "Consoles/Write", name_, "", &error);
  writers_->Drop(uid_, this);
  input_.clear();
  TellWriter("", false);
  return true;
}

// One that nobody writes to is cut, too.
void ConsoleSession::WatchRights() {
  if (reactor_ == nullptr) return;
  rights_ = services_->timers->After(kRightsMs, [self = shared_from_this()] {
    self->rights_ = 0;
    if (self->StillAllowed()) self->WatchRights();
  });
}

// Nothing is answered before the record is on the disk.
void ConsoleSession::Recorded() {
  ++records_;
  services_->gate->WhenRecorded([self = shared_from_this(), loop = services_->loop] {
    loop->Post([self] {
      --self->records_;
      self->Pump();
    });
  });
}

bool ConsoleSession::Connect(std::uint64_t from) {
  auto hub = services_->manager->supervisor()->AttachConsole(uid_, from);
  if (!hub) {
    // Nobody listens any more: it ends, and the supervisor is about to be told.
    const bool ends = hub.error().code == Code::kNotFound || hub.error().code == Code::kUnavailable;
    if (!ends) End(ToGrpc(FromError(hub.error(), reason::kHostRefused)));
    return false;
  }
  hub_ = std::move(*hub);
  offset_bytes_.clear();
  watched_ = false;
  Watch();
  return static_cast<bool>(hub_);
}

void ConsoleSession::BecomeWriter(bool take_over) {
  const auto other = writers_->Of(uid_);
  if (other != nullptr && other.get() != this) {
    if (!take_over) {
      const ApiError busy =
          WrongState(name_, fmt::format("{} types on {}: take it over", other->caller_.name, name_),
                     "WRITER_BUSY");
      return End(ToGrpc(busy));
    }
    other->TellWriter(caller_.name, false);
  }
  writers_->Set(uid_, shared_from_this());
  services_->gate->Record(caller_, "Consoles/Write", name_, "", nullptr);
  Recorded();
  if (!offset_bytes_.empty()) TellWriter(caller_.name, true);
}

void ConsoleSession::TellWriter(const std::string& who, bool self) {
  v1::AttachConsoleResponse told;
  told.mutable_writer_changed()->set_writer(who);
  told.mutable_writer_changed()->set_self(self);
  Send(std::move(told));
}

void ConsoleSession::Input(const std::string& bytes) {
  if (bytes.size() > kMaxInput)
    return End(ToGrpc(
        InvalidField("input", fmt::format("{} bytes are more than {}", bytes.size(), kMaxInput))));
  if (!StillAllowed()) return;
  if (writers_->Of(uid_).get() != this)
    return End(ToGrpc(WrongState(name_, "this session is not the writer", "NOT_WRITER")));
  input_ += bytes;
  FlushInput();
}

void ConsoleSession::FlushInput() {
  if (!hub_ || input_.empty()) return;
  const ssize_t sent = ::write(hub_.get(), input_.data(), input_.size());
  if (sent > 0) input_.erase(0, static_cast<std::size_t>(sent));
  Watch();
}

void ConsoleSession::OnReady(std::uint32_t events) {
  if (reactor_ == nullptr || !hub_) return;
  if ((events & EPOLLOUT) != 0 && !input_.empty()) {
    FlushInput();
    if (input_.empty()) reactor_->StartRead(&request);
  }
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0) return;
  if (!writing_) {
    if (!StillAllowed()) return;
    TakeOutput();
  } else if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
    // It would be told again and again until the client has taken what is on its way.
    services_->loop->Unwatch(hub_.get());
    watched_ = false;
    return;
  }
  if (reactor_ != nullptr) Watch();
}

void ConsoleSession::TakeOutput() {
  std::array<char, kChunk> bytes;
  const ssize_t got = ::read(hub_.get(), bytes.data(), bytes.size());
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return OnDisconnected();
  std::size_t used = 0;
  if (offset_bytes_.size() < kOffsetBytes) {
    used = std::min(kOffsetBytes - offset_bytes_.size(), static_cast<std::size_t>(got));
    offset_bytes_.append(bytes.data(), used);
    if (offset_bytes_.size() < kOffsetBytes) return;
    next_offset_ = LoadLe64(std::as_bytes(std::span(offset_bytes_)));
    const bool again = std::exchange(told_, true);
    v1::AttachConsoleResponse opened;
    opened.mutable_opened()->set_first_offset(next_offset_);
    opened.mutable_opened()->set_writer(writers_->Of(uid_).get() == this);
    if (!again) Send(std::move(opened));
  }
  Forward(bytes.data() + used, static_cast<std::size_t>(got) - used);
}

void ConsoleSession::Forward(const char* bytes, std::size_t size) {
  if (size > 0) {
    v1::AttachConsoleResponse output;
    output.mutable_output()->set_offset(next_offset_);
    output.mutable_output()->set_data(std::string(bytes, size));
    next_offset_ += size;
    Send(std::move(output));
  }
  if (follow_) return;
  services_->timers->Cancel(quiet_);
  quiet_ = services_->timers->After(kQuietMs, [self = shared_from_this()] {
    self->ending_ = true;
    self->Pump();
  });
}

// Too slow, and so cut off by the hub; or the machine has ended.
void ConsoleSession::OnDisconnected() {
  services_->loop->Unwatch(hub_.get());
  hub_.Reset();
  if (Connect(next_offset_) || reactor_ == nullptr) return;
  v1::AttachConsoleResponse ended;
  ended.mutable_ended()->set_reason("the machine has stopped");
  ended.mutable_ended()->set_end_offset(next_offset_);
  ending_ = true;
  Send(std::move(ended));
}

void ConsoleSession::Watch() {
  if (!hub_) return;
  const std::uint32_t in = writing_ ? 0u : std::uint32_t{EPOLLIN};
  const std::uint32_t out = input_.empty() ? 0u : std::uint32_t{EPOLLOUT};
  const Status watched =
      watched_ ? services_->loop->Modify(hub_.get(), in | out)
               : services_->loop->Watch(
                     hub_.get(), in | out,
                     [self = shared_from_this()](std::uint32_t events) { self->OnReady(events); });
  watched_ = true;
  if (!watched) End(ToGrpc(FromError(watched.error(), reason::kHostRefused)));
}

void ConsoleSession::Send(v1::AttachConsoleResponse next) {
  outbox_.push_back(std::move(next));
  Pump();
}

void ConsoleSession::Pump() {
  if (reactor_ == nullptr || writing_ || records_ > 0) return;
  if (outbox_.empty()) {
    if (ending_) return End(last_);
    if (remote_ != nullptr) return remote_->Next();
    return Watch();
  }
  response = std::move(outbox_.front());
  outbox_.pop_front();
  writing_ = true;
  reactor_->StartWrite(&response);
}

void ConsoleSession::OnWritten(bool ok) {
  writing_ = false;
  if (!ok) return End({grpc::StatusCode::CANCELLED, "the client is gone"});
  Pump();
}

Reactor* ConsoleSession::LetGo() {
  services_->timers->Cancel(quiet_);
  services_->timers->Cancel(rights_);
  if (hub_) {
    services_->loop->Unwatch(hub_.get());
    hub_.Reset();
  }
  if (remote_ != nullptr) std::exchange(remote_, nullptr)->Drop();
  writers_->Drop(uid_, this);
  return std::exchange(reactor_, nullptr);
}

void ConsoleSession::End(const grpc::Status& status) {
  if (reactor_ != nullptr) LetGo()->Finish(status);
}

void ConsoleSession::Deny(const ApiError& error) {
  services_->gate->WhenRecorded(
      [reactor = LetGo(), status = ToGrpc(error)] { reactor->Finish(status); });
}

namespace {

class ConsoleReactor final : public Reactor {
 public:
  ConsoleReactor(ServiceContext* services, ConsoleWriters* writers,
                 grpc::CallbackServerContext* context)
      : services_(services),
        session_(std::make_shared<ConsoleSession>(services, writers, this, context)) {
    StartRead(&session_->request);
  }
  void OnReadDone(bool ok) override {
    services_->loop->Post([session = session_, ok] { session->OnRequest(ok); });
  }
  void OnWriteDone(bool ok) override {
    services_->loop->Post([session = session_, ok] { session->OnWritten(ok); });
  }
  void OnCancel() override {
    services_->loop->Post(
        [session = session_] { session->End({grpc::StatusCode::CANCELLED, "cancelled"}); });
  }
  void OnDone() override { delete this; }

 private:
  ServiceContext* const services_;
  const std::shared_ptr<ConsoleSession> session_;
};

}  // namespace

grpc::ServerBidiReactor<v1::AttachConsoleRequest, v1::AttachConsoleResponse>*
ConsolesService::Attach(grpc::CallbackServerContext* context) {
  return new ConsoleReactor(services_, &writers_, context);
}

}  // namespace gemel::daemon
