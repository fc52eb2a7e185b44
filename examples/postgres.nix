# PostgreSQL as a user other than root, with its data in a volume, and a check that runs a query.
{ pkgs, strata }:
let
  start = pkgs.writeShellScript "start" ''
    set -eu
    if [ ! -e data/db ]; then
      initdb --pgdata data/db --auth trust --no-locale --encoding UTF8 >/dev/null
    fi
    exec postgres -D data/db -c unix_socket_directories= -c listen_addresses='*'
  '';
  accounts = strata.dockerTools.fakeNss.override {
    extraPasswdLines = [ "postgres:x:70:70::/var/lib/postgresql:/bin/sh" ];
    extraGroupLines = [ "postgres:x:70:" ];
  };
in
strata.checkImage {
  image = strata.buildImage {
    name = "postgres";
    tag = "latest";
    copyToRoot = [
      # initdb starts programs with this shell.
      strata.dockerTools.binSh
      (pkgs.runCommand "directories" { } "mkdir -p $out/tmp $out/var/lib/postgresql")
      accounts
    ];
    config = {
      User = "postgres";
      WorkingDir = "/var/lib/postgresql";
      Volumes."/var/lib/postgresql/data" = { };
      Env = [ "PATH=${pkgs.postgresql}/bin:${pkgs.coreutils}/bin:${pkgs.bash}/bin" ];
      Cmd = [ "${start}" ];
      ExposedPorts."5432/tcp" = { };
      StopSignal = "SIGINT";
    };
  };
  service = {
    ready.exec = [
      "pg_isready"
      "--host"
      "localhost"
    ];
    stopTimeout = 30;
    script = "psql --host localhost --username postgres --no-align --tuples-only --command 'select 6 * 7' postgres | grep -x 42";
    packages = [ pkgs.postgresql ];
  };
}
