// gemel cluster init, invite, join, witness, members, leave, replace: what forms a cluster. They work on
// the machine they are typed on, as root, without gemeld.
#include <unistd.h>

#include "base/clock.h"
#include "cli/arguments.h"
#include "cli/client/commands.h"
#include "cli/client/local_machines.h"
#include "cli/client/members_text.h"
#include "member/forming.h"
#include "member/join_client.h"
#include "member/services.h"
#include "vmm/config/parse.h"

namespace gemel::cli {
namespace {

// The options that say where things are; their defaults are right but for tests and odd machines.
struct Place {
  std::string config{cluster::kClusterConfigPath};

  void AddTo(OptionParser& parser) {
    parser.AddOption("--config", config, "the cluster's file; else /etc/gemel/cluster.toml");
  }
};

std::string OwnName() {
  char name[64] = "";
  static_cast<void>(gethostname(name, sizeof name - 1));
  const std::string text(name);
  return text.substr(0, text.find('.'));
}

void AddMemberOptions(OptionParser& parser, cluster::ClusterConfig& wanted) {
  parser.AddOption("--address", wanted.member.address, "this machine's, where the others reach it")
      .Required();
  parser.AddOption("--name", wanted.name, "this member's; else the host's name");
  parser.AddOption("--client-port", wanted.member.client_port, "etcd's, for clients; 2379");
  parser.AddOption("--peer-port", wanted.member.peer_port, "etcd's, for members; 2380");
  parser.AddOption("--join-port", wanted.member.join_port, "for those who join; 2381");
  parser.AddOption("--etcd", wanted.member.etcd, "the program; /usr/bin/etcd");
  parser.AddOption("--state-dir", wanted.state_dir, "/var/lib/gemel/cluster");
  parser.AddOption("--run-dir", wanted.run_dir, "/run/gemel");
}

// False: help was shown.
Result<bool> Parse(OptionParser& parser, const std::string& verb, Words words) {
  ASSIGN_OR_RETURN(const std::optional<std::string> help,
                   parser.Parse("gemel cluster " + verb, words));
  if (!help) return true;
  RETURN_IF_ERROR(Print(*help));
  return false;
}

void Progress(const std::string& text) { static_cast<void>(Print(text + "\n")); }

// Without systemd somebody else starts what must run.
Status PrintDone(const std::string& text, cluster::Role role, const std::string& config) {
  RETURN_IF_ERROR(Print(text + "\n"));
  if (!member::Systemctl().empty()) return {};
  const bool node = role == cluster::Role::kNode;
  return Print(fmt::format("this machine has no systemd: start {} --config {}{}\n",
                           node ? "gemel-member" : "gemel-witness", config,
                           node ? ", then gemel-keeper with the same" : ""));
}

Status Enter(const char* help, const std::string& verb, cluster::Role role, Words words) {
  member::FormingOptions options;
  Place place;
  std::string token;
  options.wanted.name = OwnName();
  options.wanted.role = role;
  options.progress = Progress;
  OptionParser parser(help);
  parser.AddOption("TOKEN", token, "of gemel cluster invite").Required();
  AddMemberOptions(parser, options.wanted);
  place.AddTo(parser);
  ASSIGN_OR_RETURN(const bool go_on, Parse(parser, verb, words));
  if (!go_on) return {};
  options.config_path = place.config;
  if (role == cluster::Role::kNode) {
    Result<std::vector<std::string>> vms = OrdinaryMachines(options.wanted.run_dir + "/api.sock");
    if (vms)
      options.vms = *std::move(vms);
    else
      Progress(
          "gemeld does not answer here: whether its VMs have names of the cluster's is not known");
  }
  RETURN_IF_ERROR(member::JoinCluster(token, options));
  return PrintDone(fmt::format("{} is in the cluster", options.wanted.name), role, place.config);
}

Status Invited(const std::string& run_dir, cluster::Role role, const std::string& ttl) {
  ASSIGN_OR_RETURN(const std::int64_t ttl_ms, ParseDuration("ttl", ttl));
  ASSIGN_OR_RETURN(const auto invited, member::AskInvite(run_dir, role, ttl_ms / 1000));
  return Print(invited.token() + "\n");
}

std::string RoleWord(const internal::member::MemberHealth& member) {
  return member.role() == internal::member::ROLE_WITNESS ? "witness"
         : member.role() == internal::member::ROLE_NODE  ? "node"
                                                         : "";
}

}  // namespace

Status ClusterInit(Words words) {
  member::FormingOptions options;
  Place place;
  options.wanted.name = OwnName();
  options.progress = Progress;
  OptionParser parser(R"(Examples:
  gemel cluster init rack7 --address 10.0.0.1
  gemel cluster init rack7 --address 10.0.0.1 --name a

Makes this machine the first of a cluster. Then: gemel cluster invite.)");
  parser.AddOption("NAME", options.wanted.cluster, "the cluster's").Required();
  AddMemberOptions(parser, options.wanted);
  place.AddTo(parser);
  ASSIGN_OR_RETURN(const bool go_on, Parse(parser, "init", words));
  if (!go_on) return {};
  options.config_path = place.config;
  RETURN_IF_ERROR(member::InitCluster(options));
  return PrintDone(
      fmt::format("cluster {} begins with {}\nNext: gemel cluster invite; for two nodes, also "
                  "gemel cluster invite --witness",
                  options.wanted.cluster, options.wanted.name),
      cluster::Role::kNode, place.config);
}

Status ClusterInvite(Words words) {
  Place place;
  bool witness = false;
  std::string ttl = "1h";
  OptionParser parser(R"(Examples:
  gemel cluster invite
  gemel cluster invite --witness --ttl 10m

Prints a token with which one machine may join, once. Whoever has it is let in: keep it secret.)");
  parser.AddFlag("--witness", witness, "as the witness, which runs no machines");
  parser.AddOption("--ttl", ttl, "how long it can be used; 1h");
  place.AddTo(parser);
  ASSIGN_OR_RETURN(const bool go_on, Parse(parser, "invite", words));
  if (!go_on) return {};
  ASSIGN_OR_RETURN(const auto config, cluster::ReadClusterConfig(place.config));
  return Invited(config.run_dir, witness ? cluster::Role::kWitness : cluster::Role::kNode, ttl);
}

Status ClusterJoin(Words words) {
  return Enter(R"(Examples:
  gemel cluster join gmj_AQBx... --address 10.0.0.2
  gemel cluster join gmj_AQBx... --address 10.0.0.2 --name b

Makes this machine a node of the cluster that the token is of.)",
               "join", cluster::Role::kNode, words);
}

Status ClusterWitness(Words words) {
  return Enter(R"(Examples:
  gemel cluster witness gmj_AQFx... --address 10.0.0.3
  gemel cluster witness gmj_AQFx... --address 10.0.0.3 --name w

Makes this machine the witness: the third vote. It runs no machines and must be neither node, nor a
virtual machine of theirs.)",
               "witness", cluster::Role::kWitness, words);
}

namespace {

std::string MembersTable(const internal::member::GetStatusResponse& status) {
  Table table({{"MEMBER"}, {"ROLE"}, {"STATE"}, {"ADDRESS"}, {"ETCD"}, {"DATA"}, {"TROUBLE"}});
  for (const auto& member : status.members()) {
    table.Add({member.name(), RoleWord(member),
               member.client()             ? "no vote"
               : !member.trouble().empty() ? "away"
               : !member.voting()          ? "joining"
               : member.leads()            ? "leads"
                                           : "votes",
               member.address(), member.version(),
               member.client() ? "" : RoughSize(static_cast<std::uint64_t>(member.stored_bytes())),
               member.trouble()});
  }
  return table.Text(false, ColourWanted());
}

std::string Milliseconds(std::int64_t us) {
  if (us == 0) return "?";
  return us < 10'000 ? fmt::format("{:.1f} ms", static_cast<double>(us) / 1000)
                     : fmt::format("{} ms", us / 1000);
}

// What is not about one member.
std::string CareOf(const internal::member::GetStatusResponse& status, std::int64_t now) {
  std::string text = fmt::format(
      "\netcd here: 99 of 100 writes to its log within {}, to its data {}; {} changes of leader\n",
      Milliseconds(status.fsync_p99_us()), Milliseconds(status.commit_p99_us()),
      status.leader_changes());
  text += fmt::format("certificates here: {} days left; feature level {}; last backup: {}\n",
                      status.certificate_days_left(), status.level(),
                      status.backup_time() == 0
                          ? "never"
                          : fmt::format("{} days ago", (now - status.backup_time()) / 86'400));
  for (const auto& forced : status.overrides())
    text += fmt::format("forced {} days ago: {}\n", (now - forced.time()) / 86'400, forced.text());
  if (!status.trouble().empty()) text += fmt::format("\n{}\n", status.trouble());
  for (const std::string& alarm : status.alarms()) text += fmt::format("\nALERT {}\n", alarm);
  return text;
}

}  // namespace

Result<std::string> DescribeMembers(const std::string& config_path) {
  ASSIGN_OR_RETURN(const auto config, cluster::ReadClusterConfig(config_path));
  ASSIGN_OR_RETURN(const auto status, member::AskStatus(config.run_dir));
  return MembersTable(status) + CareOf(status, ClockNs(CLOCK_REALTIME) / 1'000'000'000);
}

Status ClusterMembers(Words words) {
  Place place;
  OptionParser parser(R"(Examples:
  gemel cluster members
  gemel cluster members --config /etc/gemel/cluster.toml

Who has a vote, as etcd on this machine sees it, and how etcd here does. gemel cluster status says what runs
where.)");
  place.AddTo(parser);
  ASSIGN_OR_RETURN(const bool go_on, Parse(parser, "members", words));
  if (!go_on) return {};
  ASSIGN_OR_RETURN(const std::string text, DescribeMembers(place.config));
  return Print(text);
}

Status ClusterLeave(Words words) {
  Place place;
  bool destroy = false;
  bool force = false;
  OptionParser parser(R"(Examples:
  gemel cluster leave
  gemel cluster leave --destroy

Takes this machine out of its cluster. Drain it first (gemel node drain).)");
  parser.AddFlag("--destroy", destroy, "it is the last one: the cluster ends, nobody is asked");
  parser.AddFlag("--force", force, "undrained, with machines; it is recorded that you said so");
  place.AddTo(parser);
  ASSIGN_OR_RETURN(const bool go_on, Parse(parser, "leave", words));
  if (!go_on) return {};
  return member::LeaveCluster(place.config, destroy, force);
}

Status ClusterBackup(Words words) {
  Place place;
  std::string file;
  OptionParser parser(R"(Examples:
  gemel cluster backup /backup/rack7-monday
  gemel cluster backup rack7.backup

What the cluster keeps in etcd, at one moment. The file is as secret as the cluster.)");
  parser.AddOption("FILE", file, "a new file").Required();
  place.AddTo(parser);
  ASSIGN_OR_RETURN(const bool go_on, Parse(parser, "backup", words));
  if (!go_on) return {};
  return member::BackupCluster(place.config, file);
}

Status ClusterRestore(Words words) {
  Place place;
  std::string file;
  std::uint64_t above = 0;
  bool force = false;
  OptionParser parser(R"(Examples:
  gemel cluster restore /backup/rack7-monday
  gemel cluster restore /backup/rack7-monday --above 4

The cluster begins anew with this node alone and what the file has; the others join anew. For the loss of
two members of three: all others must be off for good.)");
  parser.AddOption("FILE", file, "of gemel cluster backup").Required();
  parser.AddOption("--above", above, "an incarnation that another node has seen");
  parser.AddFlag("--force", force, "even if other members answer");
  place.AddTo(parser);
  ASSIGN_OR_RETURN(const bool go_on, Parse(parser, "restore", words));
  if (!go_on) return {};
  return member::RestoreCluster(place.config, file, above, force);
}

Status ClusterReplace(Words words) {
  Place place;
  std::string name;
  std::string ttl = "1h";
  bool force = false;
  bool witness = false;
  OptionParser parser(R"(Examples:
  gemel cluster replace b
  gemel cluster replace w --witness

Removes a member that is lost for good, and prints a token for the machine that comes instead.)");
  parser.AddOption("NAME", name, "the lost one").Required();
  parser.AddFlag("--witness", witness, "what comes is the witness");
  parser.AddFlag("--force", force, "even if it answers");
  parser.AddOption("--ttl", ttl, "how long the token can be used; 1h");
  place.AddTo(parser);
  ASSIGN_OR_RETURN(const bool go_on, Parse(parser, "replace", words));
  if (!go_on) return {};
  ASSIGN_OR_RETURN(const auto config, cluster::ReadClusterConfig(place.config));
  if (name == config.name)
    return InvalidArgument("{}: that is this machine: gemel cluster leave", name);
  RETURN_IF_ERROR(member::AskRemove(config.run_dir, name, force));
  return Invited(config.run_dir, witness ? cluster::Role::kWitness : cluster::Role::kNode, ttl);
}

}  // namespace gemel::cli
