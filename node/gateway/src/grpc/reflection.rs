//! gRPC reflection, in both versions that clients speak. What nodes say among themselves is not
//! shown.

use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::service::Routes;
use tonic_reflection::server::Builder;

const PUBLIC_PACKAGE: &str = "kontiki.v1";
const WHY_IT_CANNOT_FAIL: &str = "the descriptors are those that the code was generated from";

/// Adds reflection to the services.
pub(super) fn add(routes: Routes) -> Routes {
    let alpha = builder().build_v1alpha().expect(WHY_IT_CANNOT_FAIL);
    let v1 = builder().build_v1().expect(WHY_IT_CANNOT_FAIL);
    routes.add_service(alpha).add_service(v1)
}

fn builder() -> Builder<'static> {
    Builder::configure()
        .include_reflection_service(false)
        .register_file_descriptor_set(public())
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

fn public() -> FileDescriptorSet {
    let mut all = FileDescriptorSet::decode(kontiki_proto::DESCRIPTORS).expect(WHY_IT_CANNOT_FAIL);
    all.file.retain(|file| file.package() == PUBLIC_PACKAGE);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_contract_is_shown_and_it_is_complete() {
        let files = public().file;
        let mut services: Vec<&str> =
            files.iter().flat_map(|file| &file.service).map(|service| service.name()).collect();
        services.sort_unstable();
        assert_eq!(
            services,
            ["Cluster", "Exchanges", "Log", "PubSub", "Queue", "Requests", "Topics"]
        );
        let known: Vec<&str> = files.iter().map(|file| file.name()).collect();
        for import in files.iter().flat_map(|file| &file.dependency) {
            assert!(known.contains(&import.as_str()), "{import} is imported and not shown");
        }
    }

    #[test]
    fn the_services_can_be_built() {
        let _ = add(Routes::default());
    }
}
