#include "cli/client/session.h"

#include <grpcpp/channel.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "base/clock.h"
#include "base/file_util.h"
#include "base/log.h"
#include "cli/arguments.h"
#include "cli/client/api_name.h"
#include "cli/client/json_to_yaml.h"
#include "cli/client/unary_call.h"
#include "cli/report.h"
#include "pki/certificate.h"
#include "vmm/config/parse.h"

namespace gemel::cli {
namespace {

// Long enough for a server that restarts, short enough for who waits at a terminal.
constexpr int kConnectMs = 5'000;
// And this before another server is asked.
constexpr int kOtherMs = 3'000;

struct Identity {
  std::string certificate;
  std::string key;
  std::string authority;
};

Result<Identity> ReadCredentials(const std::string& folder) {
  Identity identity;
  ASSIGN_OR_RETURN(identity.certificate, ReadTextFile(folder + "/cert.pem"));
  ASSIGN_OR_RETURN(identity.key, ReadTextFile(folder + "/key.pem"));
  ASSIGN_OR_RETURN(identity.authority, ReadTextFile(folder + "/ca.pem"));
  auto read = pki::ReadCertificate(identity.certificate);
  if (!read) return WithContext(std::move(read).error(), folder + "/cert.pem");
  const std::int64_t now = ClockNs(CLOCK_REALTIME) / 1'000'000'000;
  if (now > read->not_after) {
    return std::unexpected(
        WithHint({Code::kUnauthenticated,
                  fmt::format("{}/cert.pem: expired on {}", folder, pki::DayText(read->not_after))},
                 fmt::format("a new one, where the authority is: gemel pki issue {}", read->name)));
  }
  if (!pki::IsSignedBy(identity.certificate, identity.authority)) {
    return MakeError(Code::kUnauthenticated,
                     fmt::format("{0}/cert.pem: not signed by {0}/ca.pem", folder));
  }
  return identity;
}

}  // namespace

Result<bool> Session::Begin(OptionParser& parser, Verb kind, Words words) {
  parser.AddOption("--context", context_name_, "another context than the current one")
      .Value("NAME");
  parser
      .AddOption("--server", server_option_,
                 "HOST:PORT or unix:/PATH, instead of a context's; or several of a cluster: A,B")
      .Value("SERVER");
  parser
      .AddOption("--credentials", credentials_option_,
                 "folder with cert.pem, key.pem, ca.pem, instead of the context's")
      .Value("FOLDER");
  parser.AddOption("--project,-p", project_option_, "project, instead of the context's")
      .Value("PROJECT");
  parser.AddOption("--timeout", timeout_, "give up after so long (90s, 10m); status 124 then")
      .Value("TIME");
  parser.AddOption("--output,-o", output_, "table, wide, json, yaml or name")
      .Value("FORMAT")
      .Default("table");
  if (kind == Verb::kShow) {
    parser.AddFlag("--watch,-w", watch_, "go on, and show what changes");
    parser.AddFlag("--no-headers", no_headers_, "no line of titles");
  }
  if (kind == Verb::kChange) {
    parser.AddFlag("--wait", wait_, "until it is done, showing how far it is");
    parser.AddFlag("--dry-run", dry_run_, "check it at the server, and change nothing");
    parser.AddOption("--request-id", request_id_, "the same id makes a repeated command one change")
        .Value("ID");
  }
  ASSIGN_OR_RETURN(const auto help, parser.Parse("gemel " + command_, words));
  if (help) {
    std::fputs(help->c_str(), stdout);
    return false;
  }
  ASSIGN_OR_RETURN(format_, ParseFormat(output_));
  if (!timeout_.empty()) {
    ASSIGN_OR_RETURN(const std::int64_t timeout, ParseDuration("timeout", timeout_));
    deadline_ms_ = MonotonicMs() + timeout;
  }
  if (request_id_.empty()) request_id_ = NewRequestId();
  RETURN_IF_ERROR(ReadContext());
  return true;
}

Status Session::ReadContext() {
  ASSIGN_OR_RETURN(const Contexts contexts, LoadContexts());
  const std::string name = context_name_.empty() ? contexts.current : context_name_;
  const auto found = contexts.all.find(name);
  if (found == contexts.all.end()) {
    return std::unexpected(WithHint({Code::kInvalidArgument, fmt::format("context: {}: there is "
                                                                         "none of that name",
                                                                         name)},
                                    "see: gemel context list"));
  }
  context_ = found->second;
  if (!server_option_.empty()) context_.server = server_option_;
  if (!credentials_option_.empty()) context_.credentials = credentials_option_;
  if (!project_option_.empty()) context_.project = project_option_;
  return ValidateContext(name, context_);
}

Result<std::string> Session::NameOf(std::string_view collection, std::string_view text) const {
  return FullName(project(), collection, text);
}

bool Session::IsAway(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::UNAVAILABLE && status.error_details().empty();
}

bool Session::MayRepeat(const google::protobuf::Message& request) {
  const google::protobuf::Descriptor& type = *request.GetDescriptor();
  if (type.FindFieldByName("request_id") != nullptr) return false;
  constexpr std::array<std::string_view, 6> kReading = {"Get",     "List", "Inspect",
                                                        "Explain", "Wait", "WhoAmI"};
  return std::ranges::any_of(kReading,
                             [&](std::string_view verb) { return type.name().starts_with(verb); });
}

bool Session::GoOn() {
  if (servers() == 1) return false;
  at_ = (at_ + 1) % servers();
  channel_ = nullptr;
  return true;
}

// With several servers, one that does not answer at once is passed over; if none does, the one that the
// next call fails at says why.
Result<std::shared_ptr<grpc::Channel>> Session::Channel() {
  if (channel_) return channel_;
  const std::size_t count = servers();
  for (std::size_t tried = 0; tried < count; ++tried) {
    ASSIGN_OR_RETURN(channel_, Connect(server()));
    const auto until =
        std::chrono::system_clock::now() + std::chrono::milliseconds(count > 1 ? kOtherMs : 0);
    if (count == 1 || channel_->WaitForConnected(until)) return channel_;
    at_ = (at_ + 1) % count;
  }
  return channel_;
}

Result<std::shared_ptr<grpc::Channel>> Session::Connect(const std::string& server) const {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  // gRPC takes this for how long one attempt may take, TLS included: a far or busy server needs time.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2'000);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  if (IsLocal(server))
    return grpc::CreateCustomChannel(server, grpc::InsecureChannelCredentials(), arguments);
  ASSIGN_OR_RETURN(const Identity identity, ReadCredentials(context_.credentials));
  auto channel = grpc::CreateCustomChannel(
      server, grpc::SslCredentials({identity.authority, identity.key, identity.certificate}),
      arguments);
  const auto until = std::chrono::system_clock::now() +
                     std::chrono::milliseconds(servers() > 1 ? kOtherMs : kConnectMs);
  static_cast<void>(channel->WaitForConnected(until));  // the call says what is wrong
  return channel;
}

std::optional<std::int64_t> Session::TimeLeftMs() const {
  if (!deadline_ms_) return std::nullopt;
  return std::max<std::int64_t>(0, *deadline_ms_ - MonotonicMs());
}

Status Session::CheckTime() const {
  if (const auto left = TimeLeftMs(); left && *left == 0)
    return MakeError(Code::kDeadlineExceeded,
                     fmt::format("timeout: {} is over; what was begun goes on", timeout_));
  return {};
}

Status Session::Call(std::string_view method, const google::protobuf::Message& request,
                     google::protobuf::Message* response, std::int64_t wanted_ms) {
  for (std::size_t asked = 1;; ++asked) {
    ASSIGN_OR_RETURN(const std::shared_ptr<grpc::Channel> channel, Channel());
    const std::int64_t ms = std::min(wanted_ms, TimeLeftMs().value_or(wanted_ms));
    const grpc::Status status =
        UnaryCall(channel, method, request, response, std::chrono::milliseconds(ms));
    if (status.ok()) return {};
    const bool again = asked < servers() && IsAway(status) && MayRepeat(request);
    if (!again) return std::unexpected(ErrorOf(status));
    GoOn();
  }
}

Error Session::ErrorOf(const grpc::Status& status) const {
  return FromGrpc(status, command_, server());
}

Status Session::Show(const std::vector<const google::protobuf::Message*>& messages,
                     const std::vector<std::string>& names, const Table& table) const {
  switch (format_) {
    case Format::kJson:
      return Print(ToJson(messages));
    case Format::kYaml:
      return Print(JsonToYaml(ToJson(messages)));
    case Format::kName: {
      std::string text;
      for (const std::string& name : names) text += name + "\n";
      return Print(text);
    }
    case Format::kTable:
    case Format::kWide:
      break;
  }
  return Print(table.Text(format_ == Format::kWide, ColourWanted(), !no_headers_));
}

Status Session::ShowOne(const google::protobuf::Message& message, const std::string& name,
                        const Table& table) const {
  if (format_ == Format::kJson) return Print(ToJson(message));
  if (format_ == Format::kYaml) return Print(JsonToYaml(ToJson(message)));
  return Show({&message}, {name}, table);
}

Status Session::PrintYaml(const google::protobuf::Message& message) const {
  return Print(JsonToYaml(ToJson(message)));
}

Status Confirm(bool yes, const std::string& loss) {
  if (yes) return {};
  if (!OnTerminal(STDIN_FILENO) || !OnTerminal(STDERR_FILENO))
    return std::unexpected(WithHint({Code::kInvalidArgument, loss}, "if so: --yes"));
  WriteUnlessFull(STDERR_FILENO, fmt::format("{}. Go on? [y/N] ", Printable(loss)));
  std::array<char, 64> answer{};
  if (std::fgets(answer.data(), answer.size(), stdin) != nullptr &&
      (answer[0] == 'y' || answer[0] == 'Y'))
    return {};
  return MakeError(Code::kCancelled, "nothing was done");
}

std::string NewRequestId() {
  std::array<unsigned char, 16> bytes{};
  // Cannot fail for so few bytes once the kernel has booted.
  if (getrandom(bytes.data(), bytes.size(), 0) < 0) return "";
  bytes[6] = static_cast<unsigned char>((bytes[6] & 0x0fU) | 0x40U);
  bytes[8] = static_cast<unsigned char>((bytes[8] & 0x3fU) | 0x80U);
  std::string id;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) id += '-';
    id += fmt::format("{:02x}", bytes[i]);
  }
  return id;
}

}  // namespace gemel::cli
