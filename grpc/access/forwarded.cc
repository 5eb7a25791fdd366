#include "grpc/access/forwarded.h"

#include <algorithm>

namespace gemel::access {
namespace {

constexpr std::string_view kFormat = "1";
constexpr std::string_view kLocalWord = "local";
constexpr std::string_view kCertificateWord = "certificate";
constexpr std::size_t kMostBytes = 8 << 10;
constexpr std::size_t kForwardedKept = 64;

bool IsLine(std::string_view text) {
  return std::ranges::none_of(text, [](char c) { return (c >= 0 && c < ' ') || c == 0x7f; });
}

// Numbers of users and groups mean others there; root is root.
bool IsOfThisHost(std::string_view name) {
  return (name.starts_with("uid:") && name != "uid:0") || name.starts_with("gid:");
}

std::vector<std::string> LinesOf(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

}  // namespace

std::string FormatForwarded(const Caller& caller) {
  std::string text =
      fmt::format("{}\n{}\n{}{}\n{}\n", kFormat,
                  caller.kind == Caller::Kind::kCertificate ? kCertificateWord : kLocalWord,
                  caller.name, IsOfThisHost(caller.name) ? " of another node" : "", caller.address);
  for (const std::string& name : caller.also)
    if (!IsOfThisHost(name)) text += name + "\n";
  return text;
}

Result<Caller> ParseForwarded(std::string_view text) {
  if (text.size() > kMostBytes) return InvalidArgument("{} bytes are too many", text.size());
  std::vector<std::string> lines = LinesOf(text);
  if (lines.size() < 4 || lines[0] != kFormat || lines[2].empty() ||
      !std::ranges::all_of(lines, IsLine))
    return InvalidArgument("it is not in the form of this version");
  if (lines[1] != kLocalWord && lines[1] != kCertificateWord)
    return InvalidArgument("nobody is known in that way");
  Caller caller;
  caller.kind = lines[1] == kCertificateWord ? Caller::Kind::kCertificate : Caller::Kind::kLocal;
  caller.name = std::move(lines[2]);
  caller.address = std::move(lines[3]);
  for (std::size_t i = 4; i < lines.size(); ++i) caller.also.push_back(std::move(lines[i]));
  return caller;
}

std::optional<pki::Certificate> NodeIdentity::Read(const std::string& pem) {
  const MutexLock lock(mutex_);
  for (const Known& known : known_)
    if (known.pem == pem) return known.certificate;
  std::optional<pki::Certificate> certificate;
  if (pki::IsSignedBy(pem, authority_)) {
    if (auto read = pki::ReadCertificate(pem)) certificate = std::move(*read);
  }
  if (known_.size() >= kForwardedKept) known_.erase(known_.begin());
  known_.push_back({pem, certificate});
  return certificate;
}

Result<std::optional<Caller>> NodeIdentity::Identify(const PeerFacts& facts) {
  if (facts.certificate_pem.empty()) return std::optional<Caller>();
  const std::optional<pki::Certificate> certificate = Read(facts.certificate_pem);
  if (!certificate) return std::optional<Caller>();
  const auto refuse = [](std::string message) {
    return MakeError(Code::kUnauthenticated, std::move(message));
  };
  const std::int64_t now = clock_->RealtimeNow() / 1'000'000'000;
  if (now > certificate->not_after || now < certificate->not_before)
    return refuse(
        fmt::format("the cluster's certificate of {} counts from {} to {}, and today is {}",
                    certificate->name, pki::DayText(certificate->not_before),
                    pki::DayText(certificate->not_after), pki::DayText(now)));
  if (revoked_ != nullptr && revoked_->IsRevoked(certificate->serial))
    return refuse(fmt::format("the cluster's certificate of {} was revoked", certificate->name));
  // By its certificate: who can write the store could enter itself there.
  if (certificate->node.empty() || !is_node_(certificate->node))
    return refuse(fmt::format("{} is no other node of this cluster, and speaks for nobody",
                              certificate->name.empty() ? "its holder" : certificate->name));
  if (facts.forwarded.empty())
    return refuse(fmt::format("node {} does not say for whom it asks", certificate->node));
  Result<Caller> caller = ParseForwarded(facts.forwarded);
  if (!caller)
    return refuse(fmt::format("node {} speaks for somebody, and {}", certificate->name,
                              caller.error().message));
  caller->via = "nodes/" + certificate->node;
  return std::move(*caller);
}

}  // namespace gemel::access
