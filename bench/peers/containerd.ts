import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { findProgram, run } from '../../test/support/program.js'
import type { Clock } from '../clock.js'
import { NotHere, type Workspace, type Task } from '../workload.js'

/** Starts a separate containerd, which `ctr` controls. */
export async function containerdPeer(workspace: Workspace) {
  if (process.getuid?.() !== 0) throw new NotHere('containerd needs root')
  const root = join(workspace.directory, 'containerd')
  // A socket path must be short.
  const state = join(tmpdir(), `layerstack-ctrd-${process.pid}`)
  await mkdir(root, { recursive: true })
  await mkdir(state, { recursive: true })
  const socket = join(state, 's')
  const config = join(state, 'config.toml')
  await writeFile(
    config,
    `version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n[plugins."io.containerd.internal.v1.opt"]\npath = "${root}/opt"\n`,
  )
  const args = ['--config', config, '--root', root, '--state', state, '--address', socket]
  const daemon = spawn(
    'setpriv',
    ['--pdeathsig', 'TERM', findProgram('containerd') ?? 'containerd', ...args],
    {
      stdio: 'ignore',
    },
  )
  const ctr = async (...words: readonly string[]): Promise<string> =>
    (await run('ctr', ['--address', socket, ...words])).toString()
  const stop = async (): Promise<void> => {
    const ended = daemon.exitCode !== null || daemon.signalCode !== null
    if (!ended) {
      daemon.kill('SIGTERM')
      await once(daemon, 'exit')
    }
    await rm(state, { recursive: true, force: true })
  }
  for (let tries = 0; ; tries++) {
    const answer = await ctr('version').catch((error: unknown) => error as Error)
    if (typeof answer === 'string') break
    if (tries < 100 && daemon.exitCode === null) {
      await delay(100)
      continue
    }
    await stop()
    throw new Error('containerd did not answer', { cause: answer })
  }
  return {
    ctr,
    root,
    task: (work: (clock: Clock) => Promise<void>): Task => ({
      run: work,
      helpers: root,
      [Symbol.asyncDispose]: stop,
    }),
  }
}
