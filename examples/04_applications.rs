//! Takes an application through its environments: deploy, promote, fail, roll back.
//!
//! ```text
//! cargo run --example 04_applications
//! ```

use platform_core::{
    Application, Environment, Image, Platform,
    name::{ApplicationName, EnvironmentName},
};
use platform_k8s::Kubernetes;
use platform_testkit::{
    EmbeddedProvider,
    kubernetes::{Behaviour, ImageBehaviour},
};

#[tokio::main]
async fn main() -> platform_examples::Result {
    platform_examples::log_to_stderr();
    let api1 = ApplicationName::new("api1")?;
    let (testing, production) = (EnvironmentName::new("testing")?, EnvironmentName::new("production")?);
    let image = |tag: &str| Image::parse(format!("registry.example.com/shop/api1:{tag}"));
    // On a simulated cluster, how containers behave is a matter of their image: this one is not in its registry.
    let behaviour = Behaviour::default().image(image("1.6.0")?.as_str(), ImageBehaviour::ImagePullBackOff);
    let provider = EmbeddedProvider::builder().behaviour(behaviour).open().await?;
    let platform = Platform::builder("shop")?
        .environment(Environment::new("testing")?)
        .environment(Environment::new("production")?.protected(true))
        .application(Application::new("api1", image("1.4.0")?)?.replicas(2).port(8080))
        .provider(provider)
        .orchestrator(Kubernetes::default())
        .build()?;

    // Applying deploys to the first environment of the application's way.
    platform.apply(&platform.plan().await?)?.await?;
    print(&platform, "applied").await?;

    // The others get what runs before them.
    platform.promote(&api1, &testing, &production).await?.await?;
    print(&platform, "promoted").await?;

    platform.deploy(&api1, &testing, image("1.5.0")?).await?.await?;
    platform.promote(&api1, &testing, &production).await?.await?;
    print(&platform, "1.5.0 deployed and promoted").await?;

    // An image that cannot be pulled fails at once, and says why; what ran before goes on running.
    if let Err(error) = platform.deploy(&api1, &testing, image("1.6.0")?).await?.await {
        println!("{error}\n");
    }
    // What is not ready is not promoted.
    if let Err(error) = platform.promote(&api1, &testing, &production).await {
        println!("{error}\n");
    }
    platform.rollback(&api1, &testing).await?.await?;
    print(&platform, "rolled back").await?;

    for release in platform.releases(&api1, &production).await? {
        println!("production had {} at {}", release.image, release.at);
    }
    Ok(())
}

async fn print(platform: &Platform, when: &str) -> platform_examples::Result {
    println!("{when}:");
    for environment in platform.status().await?.environments {
        for application in environment.applications {
            let image = application.image.map_or_else(|| "-".to_owned(), |image| image.to_string());
            let (name, readiness) = (environment.name.as_str(), application.readiness);
            println!("    {name:<12} {} {image} {readiness}", application.name);
        }
    }
    println!();
    Ok(())
}
