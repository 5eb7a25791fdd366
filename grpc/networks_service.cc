#include "grpc/networks_service.h"

namespace gemel::daemon {
namespace {

using access::Permission;

constexpr std::string_view kNetworksService = "Networks";
constexpr std::string_view kNetworksCollection = "networks";

// A page of what a server gave away, by address.
ApiResult<v1::ListLeasesResponse> LeasesPage(const ListQuery& query,
                                             const ApiResult<std::vector<v1::Lease>>& leases) {
  if (!leases) return std::unexpected(leases.error());
  Directory<v1::Lease> all;
  for (const v1::Lease& lease : *leases) all.Put(lease.ip_address(), lease);
  v1::ListLeasesResponse list;
  const auto visible = [](const std::string&, const v1::Lease&) { return true; };
  for (const auto& lease : PageOf(all, query, visible, list.mutable_next_page_token()))
    *list.add_leases() = *lease;
  return list;
}

}  // namespace

NetworksService::Reactor* NetworksService::Create(Context* context,
                                                  const v1::CreateNetworkRequest* request,
                                                  v1::Operation* response) {
  return Mutate(services_, context, kNetworksService, "Create", Permission::kChange,
                request->parent(), *request, response, &VmManager::CreateNetwork);
}

NetworksService::Reactor* NetworksService::Update(Context* context,
                                                  const v1::UpdateNetworkRequest* request,
                                                  v1::Operation* response) {
  return Mutate(services_, context, kNetworksService, "Update", Permission::kChange,
                request->network().name(), *request, response, &VmManager::UpdateNetwork);
}

NetworksService::Reactor* NetworksService::Delete(Context* context,
                                                  const v1::DeleteNetworkRequest* request,
                                                  v1::Operation* response) {
  return Mutate(services_, context, kNetworksService, "Delete", Permission::kChange,
                request->name(), *request, response, &VmManager::DeleteNetwork);
}

v1::Network NetworksService::Shown(const v1::Network& network) const {
  v1::Network shown = network;
  shown.clear_users();
  services_->published->vms.Visit("", "", [&](const std::string& name, const auto& vm) {
    for (const v1::NetworkInterface& nic : vm->spec().nics()) {
      if (nic.network() != network.name()) continue;
      shown.add_users(name);
      break;
    }
    return true;
  });
  return shown;
}

NetworksService::Reactor* NetworksService::Get(Context* context,
                                               const v1::GetNetworkRequest* request,
                                               v1::Network* response) {
  const auto answer = [&]() -> ApiResult<v1::Network> {
    if (auto name = ParseResourceName("name", kNetworksCollection, request->name()); !name)
      return std::unexpected(std::move(name).error());
    auto caller =
        services_->gate->Admit(*context, "Networks/Get", Permission::kRead, request->name());
    if (!caller) return std::unexpected(std::move(caller).error());
    const auto found = services_->published->networks.Get(request->name());
    if (found == nullptr) return std::unexpected(ResourceNotFound("network", request->name()));
    return Shown(*found);
  };
  return Answer<v1::Network>(services_, context, answer(), response);
}

NetworksService::Reactor* NetworksService::List(Context* context,
                                                const v1::ListNetworksRequest* request,
                                                v1::ListNetworksResponse* response) {
  static const std::vector<std::string_view> kPaths = {"name", "state", "labels.*"};
  const auto answer = [&]() -> ApiResult<v1::ListNetworksResponse> {
    auto query = ParseList(*request, kNetworksCollection, v1::Network::descriptor(), kPaths);
    if (!query) return std::unexpected(std::move(query).error());
    auto caller =
        services_->gate->AdmitList(*context, "Networks/List", ListScope(request->parent()));
    if (!caller) return std::unexpected(std::move(caller).error());
    v1::ListNetworksResponse list;
    const auto visible = [&](const std::string& name, const v1::Network&) {
      return services_->gate->MayRead(*caller, name);
    };
    for (const auto& network :
         PageOf(services_->published->networks, *query, visible, list.mutable_next_page_token()))
      *list.add_networks() = Shown(*network);
    return list;
  };
  return Answer<v1::ListNetworksResponse>(services_, context, answer(), response);
}

NetworksService::Reactor* NetworksService::ListLeases(Context* context,
                                                      const v1::ListLeasesRequest* request,
                                                      v1::ListLeasesResponse* response) {
  static const std::vector<std::string_view> kPaths = {"mac_address", "ip_address",
                                                       "virtual_machine"};
  const auto prepare = [&]() -> ApiResult<ListQuery> {
    if (auto name = ParseResourceName("parent", kNetworksCollection, request->parent()); !name)
      return std::unexpected(std::move(name).error());
    const std::string query = fmt::format("leases {} {}", request->parent(), request->filter());
    auto page = ParsePage(request->page_size(), request->page_token(), query);
    if (!page) return std::unexpected(std::move(page).error());
    auto filter = Filter::Parse(request->filter(), v1::Lease::descriptor(), kPaths);
    if (!filter) return std::unexpected(std::move(filter).error());
    auto caller = services_->gate->Admit(*context, "Networks/ListLeases", Permission::kRead,
                                         request->parent());
    if (!caller) return std::unexpected(std::move(caller).error());
    return ListQuery{"", std::move(*page), std::move(*filter), query};
  };
  auto query = prepare();
  if (!query)
    return Answer<v1::ListLeasesResponse>(services_, context, std::unexpected(query.error()),
                                          response);
  auto* reactor = context->DefaultReactor();
  auto shared = std::make_shared<const ListQuery>(std::move(*query));
  services_->loop->Post([=, manager = services_->manager, network = request->parent()] {
    manager->Leases(network, [=](const ApiResult<std::vector<v1::Lease>>& leases) {
      const auto page = LeasesPage(*shared, leases);
      if (page) *response = *page;
      reactor->Finish(page ? grpc::Status::OK : ToGrpc(page.error()));
    });
  });
  return reactor;
}

}  // namespace gemel::daemon
