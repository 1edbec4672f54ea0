# Installs or removes Postern's service. Run as administrator, beside posternd.exe.
#
#   .\install-service.ps1            installs and starts it
#   .\install-service.ps1 -Remove    stops and removes it
#
# Nobody has tried this on a real Windows yet. The service starts and answers there, but refuses to
# connect: changing routes and the resolver of Windows is not supported yet.
param([switch]$Remove)
$ErrorActionPreference = 'Stop'
$name = 'posternd'

if ($Remove) {
    Stop-Service -Name $name -ErrorAction SilentlyContinue
    sc.exe delete $name | Out-Null
    return
}

$program = Join-Path $PSScriptRoot 'posternd.exe'
if (-not (Test-Path $program)) { throw "$program is not there" }
$data = Join-Path $env:ProgramData 'Postern'
foreach ($folder in 'config', 'state', 'run') {
    New-Item -ItemType Directory -Force -Path (Join-Path $data $folder) | Out-Null
}
# The state holds keys: for the system and administrators only, nothing inherited.
icacls (Join-Path $data 'state') /inheritance:r /grant '*S-1-5-18:(OI)(CI)F' '*S-1-5-32-544:(OI)(CI)F' | Out-Null

$command = '"{0}" --config "{1}\config" --state "{1}\state" --runtime "{1}\run"' -f $program, $data
New-Service -Name $name -BinaryPathName $command -DisplayName 'Postern VPN client agent' -StartupType Automatic | Out-Null
sc.exe failure $name reset= 60 actions= restart/1000/restart/1000/restart/5000 | Out-Null
Start-Service -Name $name
