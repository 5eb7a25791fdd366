#include "block/iscsi/session.h"

#include <poll.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/check.h"

extern "C" {
#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
}

namespace gemel::block {
namespace {

constexpr std::size_t kMaxNameBytes = 223;  // RFC 7143, 4.2.7.1
constexpr std::size_t kMaxWordBytes = 255;  // libiscsi's

static_assert(sizeof(scsi_iovec) == sizeof(iovec) && EPOLLIN == POLLIN && EPOLLOUT == POLLOUT &&
              EPOLLERR == POLLERR && EPOLLHUP == POLLHUP);

int XferOf(ScsiCommand::Data data) {
  switch (data) {
    case ScsiCommand::Data::kNone:
      break;
    case ScsiCommand::Data::kIn:
      return SCSI_XFER_READ;
    case ScsiCommand::Data::kOut:
      return SCSI_XFER_WRITE;
  }
  return SCSI_XFER_NONE;
}

// A LUN as its first two bytes (SAM-5, 4.7.7): peripheral device addressing below 256, else flat.
int WireLun(std::uint16_t lun) { return lun < 256 ? lun : 0x4000 | lun; }

}  // namespace

struct IscsiSession::Entry {
  IscsiSession* session = nullptr;
  std::uint64_t tag = 0;
  std::uint64_t number = 0;
  std::uint64_t buried_after = 0;  // ended, and told: free once a command of a higher number ended
  bool waiting = true;             // libiscsi has not told its end
  ScsiOutcome outcome;
  scsi_task* task = nullptr;
  std::vector<scsi_iovec> iov;

  Entry() = default;
  Entry(const Entry&) = delete;
  Entry& operator=(const Entry&) = delete;
  ~Entry() {
    if (task != nullptr) scsi_free_scsi_task(task);
  }
};

IscsiSession::IscsiSession(std::uint16_t lun, UniqueFd socket, Client* client)
    : lun_(WireLun(lun)), client_(client), calls_(std::move(socket)) {}

IscsiSession::~IscsiSession() {
  if (context_ == nullptr) return;
  const HostCalls::Scope scope(calls_);
  iscsi_destroy_context(context_);
}

Result<std::unique_ptr<IscsiSession>> IscsiSession::Begin(const IscsiNexus& nexus,
                                                          const IscsiAddress& address,
                                                          UniqueFd socket, Client* client) {
  for (const std::string& name : {nexus.initiator, address.target})
    if (name.empty() || name.size() > kMaxNameBytes)
      return InvalidArgument("iscsi: \"{}\": not a name of 1 to {} bytes", name, kMaxNameBytes);
  if (address.user.size() > kMaxWordBytes || address.password.size() > kMaxWordBytes)
    return InvalidArgument("iscsi: user or password of more than {} bytes", kMaxWordBytes);
  std::unique_ptr<IscsiSession> session(new IscsiSession(address.lun, std::move(socket), client));
  const HostCalls::Scope scope(session->calls_);
  iscsi_context* const context = iscsi_create_context(nexus.initiator.c_str());
  if (context == nullptr) return MakeError(Code::kResourceExhausted, "iscsi: no memory");
  session->context_ = context;
  iscsi_set_noautoreconnect(context, 1);
  iscsi_set_isid_random(context, nexus.isid, nexus.qualifier);
  iscsi_set_targetname(context, address.target.c_str());
  iscsi_set_session_type(context, ISCSI_SESSION_NORMAL);
  iscsi_set_header_digest(context, ISCSI_HEADER_DIGEST_NONE);
  if (!address.user.empty())
    iscsi_set_initiator_username_pwd(context, address.user.c_str(), address.password.c_str());
  // The portal is a word: the socket is connected.
  if (iscsi_connect_async(context, "portal", OnConnected, session.get()) != 0)
    return MakeError(Code::kUnavailable, fmt::format("iscsi: {}", iscsi_get_error(context)));
  return session;
}

void IscsiSession::OnConnected(iscsi_context*, int status, void*, void* self) {
  auto& session = *static_cast<IscsiSession*>(self);
  session.connected_ = true;
  session.login_failed_ =
      status != SCSI_STATUS_GOOD || iscsi_login_async(session.context_, OnLogin, self) != 0;
}

void IscsiSession::OnLogin(iscsi_context*, int status, void*, void* self) {
  auto& session = *static_cast<IscsiSession*>(self);
  session.logged_in_ = status == SCSI_STATUS_GOOD;
  session.login_failed_ = !session.logged_in_;
}

std::uint32_t IscsiSession::events() const {
  return lost_ ? 0 : static_cast<std::uint32_t>(iscsi_which_events(context_));
}

void IscsiSession::OnEvents(std::uint32_t events) {
  if (lost_) return;
  bool failed = false;
  {
    const HostCalls::Scope scope(calls_);
    // What has been queued is sent at once: the socket is not blocking.
    const auto now = static_cast<int>(events) | (iscsi_which_events(context_) & POLLOUT);
    failed = iscsi_service(context_, now) != 0;
    if (!failed && connected_ && !login_failed_ && (iscsi_which_events(context_) & POLLOUT) != 0)
      failed = iscsi_service(context_, POLLOUT) != 0;
    if ((iscsi_which_events(context_) & POLLOUT) == 0) calls_.guard().OnDrained();
  }
  if (failed || login_failed_ || calls_.broken() != nullptr ||
      (events & (EPOLLERR | EPOLLHUP)) != 0)
    return Lose(Reason());
  if (logged_in_ && !told_login_) {
    told_login_ = true;
    client_->OnLoggedIn();
  }
  Tell();
}

std::string IscsiSession::Reason() const {
  if (calls_.broken() != nullptr && !login_failed_) return calls_.broken();
  const std::string_view error = iscsi_get_error(context_);
  if (!error.empty()) return std::string(error);
  return calls_.broken() != nullptr ? calls_.broken() : "the connection failed";
}

bool IscsiSession::Start(const ScsiCommand& command, std::uint64_t tag) {
  CHECK(logged_in());
  Entry* const entry = NewEntry(tag);
  entry->iov.reserve(command.iov.size());
  for (const iovec& part : command.iov) entry->iov.push_back({part.iov_base, part.iov_len});
  auto cdb = command.cdb;
  entry->task = scsi_create_task(command.cdb_bytes, cdb.data(), XferOf(command.data),
                                 static_cast<int>(command.bytes));
  if (entry->task == nullptr) return false;
  const auto parts = static_cast<int>(entry->iov.size());
  if (command.data == ScsiCommand::Data::kIn)
    scsi_task_set_iov_in(entry->task, entry->iov.data(), parts);
  if (command.data == ScsiCommand::Data::kOut)
    scsi_task_set_iov_out(entry->task, entry->iov.data(), parts);
  const HostCalls::Scope scope(calls_);
  if (iscsi_scsi_command_async(context_, lun_, entry->task, OnTask, nullptr, entry) != 0)
    return false;
  ++in_flight_;
  return true;
}

bool IscsiSession::StartReset(std::uint64_t tag) {
  CHECK(logged_in());
  Entry* const entry = NewEntry(tag);
  const HostCalls::Scope scope(calls_);
  if (iscsi_task_mgmt_async(context_, lun_, ISCSI_TM_LUN_RESET, 0xffffffff, 0, OnReset, entry) != 0)
    return false;
  ++in_flight_;
  return true;
}

void IscsiSession::Ping() {
  if (!logged_in()) return;
  const HostCalls::Scope scope(calls_);
  iscsi_nop_out_async(context_, nullptr, nullptr, 0, nullptr);
}

IscsiSession::Entry* IscsiSession::NewEntry(std::uint64_t tag) {
  entries_.push_back(std::make_unique<Entry>());
  Entry* const entry = entries_.back().get();
  entry->session = this;
  entry->tag = tag;
  entry->number = ++started_;
  return entry;
}

void IscsiSession::OnTask(iscsi_context*, int status, void* data, void* private_data) {
  Entry& entry = *static_cast<Entry*>(private_data);
  ScsiOutcome outcome;
  outcome.lost = status > 0xff || data == nullptr;  // libiscsi's own: cancelled, an error, late
  outcome.status = static_cast<ScsiStatus>(status & 0xff);
  if (data != nullptr) {
    const auto& task = *static_cast<scsi_task*>(data);
    if (outcome.status == ScsiStatus::kCheckCondition) {
      outcome.key = static_cast<SenseKey>(task.sense.key);
      outcome.code = static_cast<std::uint16_t>(task.sense.ascq);
    }
    if (task.residual_status != SCSI_RESIDUAL_NO_RESIDUAL)
      outcome.missing = static_cast<std::uint32_t>(task.residual);
  }
  entry.session->Finish(entry, outcome);
}

void IscsiSession::OnReset(iscsi_context*, int status, void* data, void* private_data) {
  Entry& entry = *static_cast<Entry*>(private_data);
  ScsiOutcome outcome;
  outcome.lost = status != SCSI_STATUS_GOOD || data == nullptr;
  // RFC 7143, 11.6.1: 0 is "function complete".
  if (!outcome.lost && *static_cast<std::uint32_t*>(data) != 0)
    outcome.status = ScsiStatus::kCheckCondition;
  entry.session->Finish(entry, outcome);
}

// libiscsi may call twice for one command, when the target errs and the session is torn down then.
void IscsiSession::Finish(Entry& entry, const ScsiOutcome& outcome) {
  if (!entry.waiting) return;
  entry.waiting = false;
  entry.outcome = outcome;
  ended_.push_back(&entry);
}

void IscsiSession::Tell() {
  const std::vector<Entry*> ended = std::exchange(ended_, {});
  telling_ = true;
  for (Entry* entry : ended) {
    --in_flight_;
    // libiscsi gives up commands only when it has given up the connection, which it keeps to itself.
    if (entry->outcome.lost && drop_.empty()) drop_ = Reason();
    if (!entry->outcome.lost) last_ended_ = std::max(last_ended_, entry->number);
    entry->buried_after = started_;
    client_->OnDone(entry->tag, entry->outcome);
  }
  telling_ = false;
  if (!drop_.empty()) return Lose(drop_);
  if (!ended.empty()) Bury();
}

// libiscsi sends in the order of commands. What was started after one was answered, and has an answer
// itself, was sent after all data of that one.
void IscsiSession::Bury() {
  std::erase_if(entries_, [this](const std::unique_ptr<Entry>& entry) {
    return entry->buried_after != 0 && entry->buried_after < last_ended_;
  });
}

void IscsiSession::Drop(std::string why) {
  if (lost_) return;
  if (!telling_) return Lose(why);
  if (drop_.empty()) drop_ = std::move(why);
}

void IscsiSession::Lose(const std::string& why) {
  lost_ = true;
  {
    const HostCalls::Scope scope(calls_);
    iscsi_destroy_context(context_);  // ends what is waiting, into ended_
    context_ = nullptr;
  }
  for (const auto& entry : entries_) {
    if (entry->waiting) Finish(*entry, {.lost = true});
  }
  const std::vector<Entry*> ended = std::exchange(ended_, {});
  in_flight_ = 0;
  for (const Entry* entry : ended) client_->OnDone(entry->tag, entry->outcome);
  client_->OnLost(why);
}

}  // namespace gemel::block
