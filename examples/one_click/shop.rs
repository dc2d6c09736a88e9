//! The platform of this example.

use platform_core::{
    Application, Environment, Image, ImageOverrides, PlatformSpec, Result,
    component::{ComponentSpec, Storage},
    name::ComponentName,
};

/// Of simulated clusters: its document says the same as `shop.yaml`.
pub(crate) fn simulated() -> Result<PlatformSpec> {
    let environments = vec![
        Environment::new("testing")?,
        Environment::new("staging")?,
        Environment::new("production")?.protected(true).nodes(3),
    ];
    simulated_in(environments)
}

/// Of simulated clusters that are made where clusters cost money.
pub(crate) fn emulated() -> Result<PlatformSpec> {
    simulated_in(vec![Environment::new("testing")?, Environment::new("production")?.protected(true).nodes(3)])
}

fn simulated_in(environments: Vec<Environment>) -> Result<PlatformSpec> {
    let image = Image::parse("registry.example.com/shop/api1:1.4.0")?;
    let api1 = Application::new("api1", image)?
        .environments(["testing", "production"])?
        .replicas(2)
        .port(8080)
        .route("api1.shop.example.com");
    shop(environments, &["node-exporter", "kube-state-metrics"], api1)
}

/// Of clusters in which something really runs, as small as a notebook, or a bill, needs it.
pub(crate) fn real(images: &ImageOverrides) -> Result<PlatformSpec> {
    let api1 = if let Some(image) = images.get("app") {
        Application::new("api1", image.clone())?
    } else {
        let mut api1 = Application::new("api1", Image::parse("docker.io/hashicorp/http-echo:1.0.0")?)?;
        api1.args = vec!["-listen=:8080".to_owned(), "-text=hello from api1".to_owned()];
        api1
    };
    let environments = vec![Environment::new("testing")?, Environment::new("production")?.protected(true)];
    let mut spec =
        shop(environments, &["node-exporter", "kube-state-metrics", "prometheus"], api1.port(8080))?;
    // The clusters are gone with the example, and so may be what Prometheus keeps.
    for component in &mut spec.components {
        component.storage = (component.name == "prometheus").then(Storage::ephemeral);
    }
    Ok(spec)
}

fn shop(
    environments: Vec<Environment>,
    components: &[&str],
    application: Application,
) -> Result<PlatformSpec> {
    let mut spec = PlatformSpec::new("shop")?;
    spec.environments = environments;
    for component in components {
        spec.components.push(ComponentSpec::new(ComponentName::new(component)?));
    }
    spec.applications.push(application);
    Ok(spec)
}
