// One command's server and options, and how it calls. One thread.
#pragma once
#include <google/protobuf/message.h>

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/arguments.h"
#include "cli/client/client_error.h"
#include "cli/client/context.h"
#include "cli/client/output.h"

namespace grpc {
class Channel;
class Status;
}  // namespace grpc

namespace gemel::cli {

using Words = std::span<const std::string>;

// Which options a verb has beside its own.
enum class Verb : std::uint8_t { kShow, kChange, kOther };

class Session {
 public:
  // `command` is what was typed: "vm start".
  explicit Session(std::string command) : command_(std::move(command)) {}

  // Adds the options that all verbs of that kind have, parses, and reads the context. False: the help
  // was asked for and printed.
  Result<bool> Begin(OptionParser& parser, Verb kind, Words words);

  const std::string& command() const { return command_; }
  // The one that is asked.
  std::string server() const { return context_.servers().at(at_); }
  const std::string& project() const { return context_.project; }
  std::string parent() const { return "projects/" + project(); }
  Format format() const { return format_; }
  bool wait() const { return wait_; }
  bool watch() const { return watch_; }
  bool dry_run() const { return dry_run_; }
  const std::string& request_id() const { return request_id_; }
  Result<std::string> NameOf(std::string_view collection, std::string_view text) const;

  // The channel to the server; made at the first call. Of several servers: to the first that is there.
  Result<std::shared_ptr<grpc::Channel>> Channel();
  // The next call is the next server's, if there are several. Whether there are.
  bool GoOn();
  // Milliseconds until --timeout; nullopt if there is none.
  std::optional<std::int64_t> TimeLeftMs() const;
  // kDeadlineExceeded once --timeout is over.
  Status CheckTime() const;
  Error ErrorOf(const grpc::Status& status) const;

  // One call (unary_call.h), which has 30 s or what --timeout leaves; `wanted_ms`: another limit. If
  // its server goes away, the next one is asked, unless that could do it twice.
  Status Call(std::string_view method, const google::protobuf::Message& request,
              google::protobuf::Message* response, std::int64_t wanted_ms = 30'000);

  // A message of a list or of one thing, as -o says; `table` is for table and wide.
  Status Show(const std::vector<const google::protobuf::Message*>& messages,
              const std::vector<std::string>& names, const Table& table) const;
  Status ShowOne(const google::protobuf::Message& message, const std::string& name,
                 const Table& table) const;
  Status PrintYaml(const google::protobuf::Message& message) const;
  bool wants_title() const { return !no_headers_; }

 private:
  Status ReadContext();
  std::size_t servers() const { return context_.servers().size(); }
  // The server said nothing: it is not there, or the way to it is not.
  static bool IsAway(const grpc::Status& status);
  // It changes nothing. Request ids are one node's own, but for machines with failover.
  static bool MayRepeat(const google::protobuf::Message& request);
  Result<std::shared_ptr<grpc::Channel>> Connect(const std::string& server) const;

  const std::string command_;
  std::string context_name_;
  std::string server_option_;
  std::string credentials_option_;
  std::string project_option_;
  std::string output_ = "table";
  std::string timeout_;
  std::string request_id_;
  bool wait_ = false;
  bool watch_ = false;
  bool dry_run_ = false;
  bool no_headers_ = false;
  Format format_ = Format::kTable;
  Context context_;
  std::optional<std::int64_t> deadline_ms_;  // CLOCK_MONOTONIC
  std::shared_ptr<grpc::Channel> channel_;
  std::size_t at_ = 0;  // of the servers
};

// Asks on the terminal whether to go on, having said what will be lost; `yes` answers for the user, and
// without a terminal it must.
Status Confirm(bool yes, const std::string& loss);

// A version 4 UUID, for a call that may have to be made again.
std::string NewRequestId();

}  // namespace gemel::cli
