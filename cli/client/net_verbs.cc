// gemel net: networks of a node.
#include "cli/client/api_name.h"
#include "cli/client/commands.h"
#include "cli/client/operation_wait.h"
#include "proto/gemel/v1/networks.pb.h"

namespace gemel::cli {
namespace {

constexpr char kHelp[] =
    R"(Examples:
  gemel net create lan --subnet 10.88.0.0/24 --wait
  gemel net list

Networks of a node.

Usage: gemel net VERB [NAME] [ARGUMENT]...

Verbs:
  list, get   what there is
  create      a bridge with NAT, DHCP and DNS, or one that is there
  delete      leaves the host as it was
  leases      addresses that its DHCP gave away
)";

Table NetTable() {
  return Table(
      {{"NAME"}, {"STATE"}, {"BRIDGE"}, {"SUBNET"}, {"USED BY"}, {"MESSAGE", true}, {"UID", true}});
}

void AddNet(const Session& session, const v1::Network& net, Table& table) {
  std::string users;
  for (const std::string& user : net.users())
    users += (users.empty() ? "" : ",") + ShortName(session.project(), user);
  table.Add({ShortName(session.project(), net.name()),
             EnumWord(v1::NetworkState_Name(net.state()), "NETWORK_STATE_"), net.bridge(),
             net.managed_bridge().subnet(), users, net.message(), net.uid()});
}

Status List(Words words) {
  Session session("net list");
  std::string filter;
  OptionParser parser(R"(Examples:
  gemel net list
  gemel net list -o wide

Networks of a project.)");
  parser.AddOption("--filter", filter, "which: name, state, labels.KEY");
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kShow, words));
  if (!go_on) return {};
  v1::ListNetworksRequest request;
  request.set_parent(session.parent());
  request.set_filter(filter);
  request.set_page_size(500);
  v1::ListNetworksResponse all;
  do {
    v1::ListNetworksResponse page;
    RETURN_IF_ERROR(session.Call("Networks/List", request, &page));
    all.mutable_networks()->MergeFrom(page.networks());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  Table table = NetTable();
  std::vector<const google::protobuf::Message*> messages;
  std::vector<std::string> names;
  for (const v1::Network& net : all.networks()) {
    AddNet(session, net, table);
    messages.push_back(&net);
    names.push_back(ShortName(session.project(), net.name()));
  }
  return session.Show(messages, names, table);
}

Status Get(Words words) {
  Session session("net get");
  std::string name;
  OptionParser parser(R"(Examples:
  gemel net get lan
  gemel net get lan -o yaml

One network.)");
  parser.AddOption("NAME", name, "which").Required();
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kShow, words));
  if (!go_on) return {};
  v1::GetNetworkRequest request;
  ASSIGN_OR_RETURN(*request.mutable_name(), session.NameOf("networks", name));
  v1::Network net;
  RETURN_IF_ERROR(session.Call("Networks/Get", request, &net));
  Table table = NetTable();
  AddNet(session, net, table);
  return session.ShowOne(net, name, table);
}

struct NewNet {
  std::string name;
  std::string subnet;
  std::string bridge;
  bool no_nat = false;
  bool no_dhcp = false;
  bool no_dns = false;
};

Result<v1::CreateNetworkRequest> NewNetRequest(const Session& session, const NewNet& options) {
  if (options.subnet.empty() == options.bridge.empty())
    return InvalidArgument("subnet: give either --subnet or --bridge");
  v1::CreateNetworkRequest request;
  ASSIGN_OR_RETURN(const std::string full, session.NameOf("networks", options.name));
  request.set_parent(full.substr(0, full.find("/networks/")));
  request.set_network_id(LastPart(full));
  request.set_request_id(session.request_id());
  request.set_validate_only(session.dry_run());
  if (!options.bridge.empty()) {
    request.mutable_network()->mutable_host_bridge()->set_interface(options.bridge);
    return request;
  }
  v1::ManagedBridge& bridge = *request.mutable_network()->mutable_managed_bridge();
  bridge.set_subnet(options.subnet);
  bridge.set_nat(!options.no_nat);
  bridge.set_dhcp(!options.no_dhcp);
  bridge.set_dns(!options.no_dns);
  return request;
}

Status Create(Words words) {
  Session session("net create");
  NewNet options;
  OptionParser parser(R"(Examples:
  gemel net create lan --subnet 10.88.0.0/24 --wait
  gemel net create office --bridge br0

A bridge of the daemon's own with NAT, DHCP and DNS, or one that the administrator declared.)");
  parser.AddOption("NAME", options.name, "1 to 63 of a-z 0-9 -").Required();
  parser.AddOption("--subnet", options.subnet, "10.88.0.0/24").Value("SUBNET");
  parser.AddOption("--bridge", options.bridge, "a bridge that is there, instead")
      .Value("INTERFACE");
  parser.AddFlag("--no-nat", options.no_nat, "no way out of the host");
  parser.AddFlag("--no-dhcp", options.no_dhcp, "guests have addresses of their own");
  parser.AddFlag("--no-dns", options.no_dns, "no names of VMs");
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kChange, words));
  if (!go_on) return {};
  ASSIGN_OR_RETURN(const v1::CreateNetworkRequest request, NewNetRequest(session, options));
  v1::Operation operation;
  RETURN_IF_ERROR(session.Call("Networks/Create", request, &operation));
  return FinishChange(session, operation, "created");
}

Status Delete(Words words) {
  Session session("net delete");
  std::string name;
  bool yes = false;
  bool missing = false;
  OptionParser parser(R"(Examples:
  gemel net delete lan
  gemel net delete lan --yes --wait

Leaves the host as it was before. Refused while a VM uses it.)");
  parser.AddOption("NAME", name, "which").Required();
  parser.AddFlag("--yes,-y", yes, "do not ask");
  parser.AddFlag("--if-exists", missing, "one that is not there is well, too");
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kChange, words));
  if (!go_on) return {};
  v1::DeleteNetworkRequest request;
  ASSIGN_OR_RETURN(*request.mutable_name(), session.NameOf("networks", name));
  if (!session.dry_run())
    RETURN_IF_ERROR(Confirm(yes, fmt::format("{}: its bridge, rules and leases will go", name)));
  request.set_allow_missing(missing);
  request.set_request_id(session.request_id());
  request.set_validate_only(session.dry_run());
  v1::Operation operation;
  RETURN_IF_ERROR(session.Call("Networks/Delete", request, &operation));
  return FinishChange(session, operation, "deleted");
}

Status Leases(Words words) {
  Session session("net leases");
  std::string name;
  OptionParser parser(R"(Examples:
  gemel net leases lan
  gemel net leases lan -o json

Addresses that its DHCP server gave away.)");
  parser.AddOption("NAME", name, "which").Required();
  ASSIGN_OR_RETURN(const bool go_on, session.Begin(parser, Verb::kShow, words));
  if (!go_on) return {};
  v1::ListLeasesRequest request;
  ASSIGN_OR_RETURN(*request.mutable_parent(), session.NameOf("networks", name));
  v1::ListLeasesResponse leases;
  RETURN_IF_ERROR(session.Call("Networks/ListLeases", request, &leases));
  Table table({{"ADDRESS"}, {"MAC"}, {"VM"}, {"HOSTNAME"}});
  std::vector<const google::protobuf::Message*> messages;
  std::vector<std::string> names;
  for (const v1::Lease& lease : leases.leases()) {
    table.Add({lease.ip_address(), lease.mac_address(),
               ShortName(session.project(), lease.virtual_machine()), lease.hostname()});
    messages.push_back(&lease);
    names.push_back(lease.ip_address());
  }
  return session.Show(messages, names, table);
}

}  // namespace

Noun NetNoun() {
  static constexpr VerbEntry kVerbs[] = {
      {"list", List}, {"get", Get}, {"create", Create}, {"delete", Delete}, {"leases", Leases}};
  return {"net", kHelp, kVerbs};
}

}  // namespace gemel::cli
