import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdir, open, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { enterDirectory, enterProcess } from './ledger.js'
import { removeTree } from './mounts.js'
import { findProgram, run } from './program.js'

/** A separate containerd with its own root, state and socket. It never collects garbage. */
export interface Containerd extends AsyncDisposable {
  /** Runs `ctr ARGS…` on this daemon. Resolves to stdout. */
  ctr(...args: readonly string[]): Promise<Buffer>
  /** Ends the daemon and removes its directory. May be called twice. */
  stop(): Promise<void>
}

/** Resolves once the daemon answers. */
export async function startContainerd(directory: string): Promise<Containerd> {
  await mkdir(directory, { recursive: true })
  enterDirectory(directory)
  const socket = join(directory, 'socket')
  const daemon = await spawnDaemon(directory, socket)
  let stopped: Promise<void> | undefined
  const stop = (): Promise<void> => (stopped ??= stopDaemon(daemon, directory))
  const ctr = (...args: readonly string[]) => run('ctr', ['--address', socket, ...args])
  const deadline = Date.now() + 60_000
  for (;;) {
    try {
      await ctr('version')
      return { ctr, stop, [Symbol.asyncDispose]: stop }
    } catch (cause) {
      if (Date.now() < deadline && !hasEnded(daemon)) {
        await delay(50)
        continue
      }
      const log = await readFile(join(directory, 'log'), 'utf8')
      await stop()
      throw new Error(`containerd did not start:\n${log.slice(-4000)}`, { cause })
    }
  }
}

async function spawnDaemon(directory: string, socket: string): Promise<ChildProcess> {
  const config = join(directory, 'config.toml')
  await writeFile(
    config,
    `version = 2
root = ${JSON.stringify(join(directory, 'root'))}
state = ${JSON.stringify(join(directory, 'state'))}
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = ${JSON.stringify(socket)}
[ttrpc]
address = ${JSON.stringify(`${socket}.ttrpc`)}
[plugins."io.containerd.gc.v1.scheduler"]
startup_delay = "24h"
mutation_threshold = 1000000
`,
  )
  const log = await open(join(directory, 'log'), 'w')
  // With a parent death signal the daemon ends even if the test process is killed.
  const args = ['--pdeathsig', 'TERM', findProgram('containerd') ?? 'containerd', '--config', config]
  const daemon = spawn('setpriv', args, { stdio: ['ignore', log.fd, log.fd], detached: true })
  await new Promise<void>((resolve, reject) => daemon.once('spawn', resolve).once('error', reject))
  await log.close()
  if (daemon.pid !== undefined) enterProcess(daemon.pid)
  return daemon
}

async function stopDaemon(daemon: ChildProcess, directory: string): Promise<void> {
  daemon.kill('SIGTERM')
  for (let tries = 0; tries < 200 && !hasEnded(daemon); tries++) await delay(50)
  if (!hasEnded(daemon)) daemon.kill('SIGKILL')
  while (!hasEnded(daemon)) await delay(20)
  await removeTree(directory)
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null
}
