// One iSCSI session with one disk of a target: logs in on a connected socket, and carries commands
// until it is lost. It never reconnects: whoever owns it makes the next one.
//
// libiscsi ends here. It calls us in the middle of its work, so outcomes are told only when it has
// returned; and it may still send data of a command that the target has answered already, so what it
// knows of a command stays until a later one proves that this is over.
//
// One thread. A caller who gets OnLost or OnDone may start commands, but not destroy the session.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "block/iscsi/host_calls.h"
#include "block/iscsi/scsi.h"

struct iscsi_context;
struct scsi_task;

namespace gemel::block {

// Who we are to a target: with the target's portal group, the I_T nexus (SAM-5, 4.7; RFC 7143, 4.2.7).
struct IscsiNexus {
  std::string initiator;   // iSCSI name, at most 223 bytes
  std::uint32_t isid = 0;  // 24 bits, of the type "random" (RFC 7143, 11.12.5)
  std::uint16_t qualifier = 0;
  bool operator==(const IscsiNexus&) const = default;
};

struct IscsiAddress {
  std::string target;     // iSCSI name, at most 223 bytes
  std::uint16_t lun = 0;  // 0 to 16383
  std::string user;       // CHAP; empty: none
  std::string password;
  bool operator==(const IscsiAddress&) const = default;
};

class IscsiSession {
 public:
  class Client {
   public:
    virtual ~Client() = default;
    virtual void OnLoggedIn() = 0;
    // Nothing follows. Every command that had not ended has ended as `lost` before.
    virtual void OnLost(const std::string& why) = 0;
    virtual void OnDone(std::uint64_t tag, const ScsiOutcome& outcome) = 0;
  };

  // `socket` is a connected stream. The client outlives the session. Calls
  // nobody yet. kInvalidArgument, naming the value, for names that are too long.
  static Result<std::unique_ptr<IscsiSession>> Begin(const IscsiNexus& nexus,
                                                     const IscsiAddress& address, UniqueFd socket,
                                                     Client* client);
  ~IscsiSession();
  IscsiSession(const IscsiSession&) = delete;
  IscsiSession& operator=(const IscsiSession&) = delete;

  // What to wait for, as epoll has it; it changes with each call. The descriptor stays open as long as
  // the session exists.
  int fd() const { return calls_.socket(); }
  std::uint32_t events() const;
  // Moves on with what epoll said; 0 for what has been queued since. Calls the client.
  void OnEvents(std::uint32_t events);

  bool logged_in() const { return logged_in_ && !lost_; }
  bool lost() const { return lost_; }
  std::uint64_t received() const { return calls_.received(); }  // bytes, ever
  std::size_t in_flight() const { return in_flight_; }

  // Queues a command, which the next OnEvents sends. REQUIRES: logged_in(). False if there is no
  // memory for it.
  bool Start(const ScsiCommand& command, std::uint64_t tag);
  // Resets the logical unit: ends once every command to it, of anybody, has ended or was aborted.
  bool StartReset(std::uint64_t tag);
  // Asks the target for a sign of life, which counts in received().
  void Ping();
  // Ends the session, with OnLost: at once, or after the OnDone in progress.
  void Drop(std::string why);

 private:
  struct Entry;

  IscsiSession(std::uint16_t lun, UniqueFd socket, Client* client);
  static void OnConnected(iscsi_context*, int status, void*, void* self);
  static void OnLogin(iscsi_context*, int status, void*, void* self);
  static void OnTask(iscsi_context*, int status, void* data, void* entry);
  static void OnReset(iscsi_context*, int status, void* data, void* entry);
  Entry* NewEntry(std::uint64_t tag);
  void Finish(Entry& entry, const ScsiOutcome& outcome);
  void Tell();
  void Bury();
  void Lose(const std::string& why);
  std::string Reason() const;

  const int lun_;
  Client* const client_;
  HostCalls calls_;
  iscsi_context* context_ = nullptr;
  bool connected_ = false;
  bool login_failed_ = false;
  bool logged_in_ = false;
  bool told_login_ = false;
  bool lost_ = false;
  bool telling_ = false;
  std::string drop_;              // why it is to end, once all is told
  std::uint64_t started_ = 0;     // commands, ever: numbers them
  std::uint64_t last_ended_ = 0;  // the highest number of those that have ended
  std::size_t in_flight_ = 0;
  std::vector<std::unique_ptr<Entry>> entries_;
  std::vector<Entry*> ended_;  // not told yet
};

}  // namespace gemel::block
