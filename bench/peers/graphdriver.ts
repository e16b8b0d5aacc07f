import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, rename, rm, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { builtInDrivers } from 'layerstack'
import { fileSystemOf } from '#layerstack/sys/file-system.js'
import { findProgram, run } from '../../test/support/program.js'
import { NotHere, type Workspace, type Task } from '../workload.js'

export type GraphDriver = 'overlay2' | 'vfs' | 'btrfs' | 'devicemapper'

/** Where `apt-get install golang-github-docker-docker-dev` installs sources. */
const SOURCES = '/usr/share/gocode'
const HOME = resolve(import.meta.dirname, '../../../peers/graphdriver')
const PROGRAM = join(import.meta.dirname, 'graphdriver')

/**
 * Docker's own driver, called by a small Go program. It creates, opens, closes and removes writable layers on a stack
 * of empty layers, and measures the times itself.
 */
export async function graphDriverPeer(
  { directory }: Workspace,
  name: GraphDriver,
  depth: number,
  times: number,
): Promise<Task> {
  if (process.getuid?.() !== 0) throw new NotHere("Docker's drivers need root")
  if (name === 'btrfs' && fileSystemOf(directory).name !== 'btrfs')
    throw new NotHere('no disk of this run is btrfs')
  if (name === 'devicemapper') await refuseWithoutDeviceMapper(directory)
  const program = await graphDriverProgram()
  const root = join(directory, name)
  await mkdir(root)
  const options = name === 'devicemapper' ? ['dm.fs=ext4', 'dm.override_udev_sync_check=true'] : []
  const child = spawn(program, [name, root, String(depth), ...options], { stdio: ['pipe', 'pipe', 'pipe'] })
  const said: Buffer[] = []
  child.stderr.on('data', (chunk: Buffer) => said.push(chunk))
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  const next = async (): Promise<string> => {
    const { value, done } = await lines.next()
    if (done !== true) return value
    throw new Error(`Docker's ${name}: ${Buffer.concat(said).toString().trim().split('\n').at(-1)}`)
  }
  await next()
  return {
    async run(clock) {
      child.stdin.write(`${times}\n`)
      const { cpu, ...phases } = JSON.parse(await next()) as Record<string, number>
      clock.record(phases, cpu ?? 0)
    },
    helpers: root,
    async [Symbol.asyncDispose]() {
      child.stdin.end()
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    },
  }
}

async function refuseWithoutDeviceMapper(directory: string): Promise<void> {
  const { engines } = await builtInDrivers().get('devicemapper').supported(directory)
  const kernel = engines.find(({ engine }) => engine === 'kernel')
  if (kernel?.works !== true) throw new NotHere(kernel?.reason ?? 'this kernel has no device-mapper')
}

/** Returns the path of the program. Builds it if it does not exist or is older than its source. */
export async function graphDriverProgram(): Promise<string> {
  const source = await stat(join(HOME, 'main.go'))
  const built = await stat(PROGRAM).catch(() => undefined)
  if (built !== undefined && built.mtimeMs > source.mtimeMs) return PROGRAM
  if (findProgram('go') === undefined)
    throw new NotHere("Go is not installed, which building Docker's drivers needs")
  const fresh = `${PROGRAM}-${process.pid}`
  try {
    const path = [join(HOME, 'go'), SOURCES].join(':')
    const env = { ...process.env, GO111MODULE: 'off', GOPATH: path, GOFLAGS: '' }
    await run('go', ['build', '-o', fresh, '.'], { cwd: HOME, env })
    await rename(fresh, PROGRAM)
  } catch (error) {
    await rm(fresh, { force: true })
    throw new NotHere(
      "building Docker's drivers failed; see docs/performance.md for the packages to install",
      {
        cause: error,
      },
    )
  }
  return PROGRAM
}
