job "redis" {
  datacenters = ["*"]

  group "redis" {
    network {
      port "redis" { to = 6379 }
    }

    task "redis" {
      driver = "podman"

      config {
        image = "docker.io/library/redis:7"
        ports = ["redis"]
      }

      resources {
        cpu    = 200
        memory = 128
      }
    }
  }
}
