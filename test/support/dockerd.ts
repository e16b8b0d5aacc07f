import { spawn } from 'node:child_process'
import type { ChildProcess, StdioOptions } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, open, readFile, readdir, writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import type { Readable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { enterDirectory, enterProcess } from './ledger.js'
import { removeTree, unmountBelow } from './mounts.js'
import { findProgram } from './program.js'

export interface DockerdOptions {
  /** The data root. Created if it does not exist; stays after `stop()`. */
  readonly root: string
  /** @default 'overlay2' */
  readonly driver?: 'overlay2' | 'vfs' | 'btrfs' | 'devicemapper'
  /** Values for `--storage-opt`. */
  readonly storageOptions?: readonly string[]
  /** More flags for dockerd. */
  readonly flags?: readonly string[]
}

/** A separate dockerd with its own containerd, socket and data root, without a network. */
export interface Dockerd extends AsyncDisposable {
  readonly root: string
  readonly driver: string
  /** `unix://…`, for DOCKER_HOST and for skopeo's `--src-daemon-host`. */
  readonly host: string
  /** Runs `docker ARGS…`; resolves to stdout. */
  cli(...args: readonly string[]): Promise<Buffer>
  /** As `cli`, stdout as trimmed text. */
  text(...args: readonly string[]): Promise<string>
  /** As `cli`, stdout to a new file. */
  toFile(path: string, ...args: readonly string[]): Promise<void>
  /** As `cli`, stdin from a file. */
  fromFile(path: string, ...args: readonly string[]): Promise<Buffer>
  /** As `cli`, stdin from bytes. */
  fromBytes(input: Buffer | string, ...args: readonly string[]): Promise<Buffer>
  /** As `cli`, stdout as a stream, which fails if the command fails. */
  stream(...args: readonly string[]): Readable
  /** `docker load`. Resolves to the loaded references, or image IDs for untagged images. */
  load(path: string): Promise<string[]>
  save(path: string, ...references: readonly string[]): Promise<void>
  /** `docker export` of a new container of the image, which never runs. */
  exportImage(reference: string, path: string): Promise<void>
  /** `docker image inspect`, parsed. */
  inspect(reference: string): Promise<ImageInspect>
  /** Image IDs, `sha256:…`, each once. */
  imageIds(): Promise<string[]>
  /** Ends the daemon and its containers, and unmounts everything below the data root. May be called twice. */
  stop(): Promise<void>
}

export interface ImageInspect {
  readonly Id: string
  readonly RepoTags: readonly string[]
  readonly Size: number
  readonly Config: Readonly<Record<string, unknown>>
  readonly RootFS: { readonly Type: string; readonly Layers: readonly string[] }
  readonly GraphDriver: { readonly Name: string; readonly Data: Readonly<Record<string, string>> }
  readonly [field: string]: unknown
}

/** Resolves once the daemon answers. */
export async function startDockerd(options: DockerdOptions): Promise<Dockerd> {
  const { root, driver = 'overlay2' } = options
  await mkdir(root, { recursive: true })
  const run = await mkdtemp(join(tmpdir(), 'layerstack-dockerd-'))
  enterDirectory(root)
  enterDirectory(run)
  const daemon = await spawnDaemon(run, { ...options, driver })
  const client = dockerClient(join(run, 'docker.sock'), join(run, 'client'))
  let stopped: Promise<void> | undefined
  const stop = (): Promise<void> => (stopped ??= stopDaemon(daemon, root, run))
  try {
    await answers(join(run, 'docker.sock'), daemon)
  } catch (error) {
    const log = await readFile(join(run, 'log'), 'utf8')
    await stop()
    throw new Error(`dockerd did not start:\n${log.slice(-4000)}`, { cause: error })
  }
  return { root, driver, ...client, stop, [Symbol.asyncDispose]: stop }
}

async function spawnDaemon(run: string, options: DockerdOptions & { driver: string }): Promise<ChildProcess> {
  await writeFile(join(run, 'daemon.json'), '{}')
  const log = await open(join(run, 'log'), 'w')
  // dockerd uses a containerd that already runs on this machine, so the names in it must be unique.
  const namespace = `layerstack-${randomBytes(4).toString('hex')}`
  const args = [
    ...[
      '--config-file',
      join(run, 'daemon.json'),
      '--data-root',
      options.root,
      '--exec-root',
      join(run, 'exec'),
    ],
    ...['--host', `unix://${join(run, 'docker.sock')}`, '--pidfile', join(run, 'pid')],
    ...['--containerd-namespace', namespace, '--containerd-plugins-namespace', `${namespace}-plugins`],
    ...[
      '--bridge=none',
      '--iptables=false',
      '--ip-forward=false',
      '--ip-masq=false',
      '--userland-proxy=false',
    ],
    ...['--storage-driver', options.driver],
    ...(options.storageOptions ?? []).flatMap((option) => ['--storage-opt', option]),
    ...(options.flags ?? []),
  ]
  // With a parent death signal, the daemon shuts down cleanly even if the test process is killed.
  const daemon = spawn('setpriv', ['--pdeathsig', 'TERM', findProgram('dockerd') ?? 'dockerd', ...args], {
    stdio: ['ignore', log.fd, log.fd],
    detached: true,
    env: { ...process.env, DOCKER_RAMDISK: '' },
  })
  await new Promise<void>((resolve, reject) => daemon.once('spawn', resolve).once('error', reject))
  await log.close()
  if (daemon.pid !== undefined) enterProcess(daemon.pid)
  return daemon
}

async function answers(socketPath: string, daemon: ChildProcess): Promise<void> {
  const deadline = Date.now() + 60_000
  while (Date.now() < deadline) {
    if (hasEnded(daemon)) throw new Error(`dockerd ended with ${daemon.exitCode ?? daemon.signalCode}`)
    if (await ping(socketPath)) return
    await delay(50)
  }
  throw new Error('dockerd did not answer within a minute')
}

function ping(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const asked = request({ socketPath, path: '/_ping', timeout: 5000 }, (answer) => {
      answer.resume()
      resolve(answer.statusCode === 200)
    })
    asked.once('error', () => resolve(false))
    asked.end()
  })
}

async function stopDaemon(daemon: ChildProcess, root: string, run: string): Promise<void> {
  daemon.kill('SIGTERM')
  for (let tries = 0; tries < 600 && !hasEnded(daemon); tries++) await delay(50)
  if (!hasEnded(daemon)) daemon.kill('SIGKILL')
  while (!hasEnded(daemon)) await delay(20)
  await killShims(run)
  await unmountBelow(root)
  await removeTree(run)
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null
}

/** Containers outlive a killed dockerd. Each is below a shim whose arguments contain this daemon's unique directory. */
async function killShims(run: string): Promise<void> {
  const processes = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  for (const pid of processes) {
    const args = await readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => '')
    if (!args.includes('containerd-shim') || !args.includes(`${run}/`)) continue
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'latin1').catch(() => '')
    for (const target of [pid, ...children.split(' ')].filter((id) => id !== '')) killIfThere(Number(target))
  }
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended meanwhile.
  }
}

type Client = Omit<Dockerd, 'root' | 'driver' | 'stop' | typeof Symbol.asyncDispose>

function dockerClient(socket: string, config: string): Client {
  const host = `unix://${socket}`
  const start = (args: readonly string[], stdio: StdioOptions): ChildProcess =>
    spawn(dockerProgram(), args, {
      stdio,
      env: {
        ...process.env,
        DOCKER_HOST: host,
        DOCKER_CONFIG: config,
        DOCKER_BUILDKIT: '0',
        DOCKER_CONTEXT: '',
      },
    })

  async function fromBytes(input: Buffer | string, ...args: readonly string[]): Promise<Buffer> {
    const child = start(args, ['pipe', 'pipe', 'pipe'])
    child.stdin?.once('error', () => undefined).end(input)
    return finished(child, args)
  }

  async function cli(...args: readonly string[]): Promise<Buffer> {
    return finished(start(args, ['ignore', 'pipe', 'pipe']), args)
  }

  async function text(...args: readonly string[]): Promise<string> {
    return (await cli(...args)).toString().trim()
  }

  async function toFile(path: string, ...args: readonly string[]): Promise<void> {
    await using file = await open(path, 'wx')
    await finished(start(args, ['ignore', file.fd, 'pipe']), args)
  }

  async function fromFile(path: string, ...args: readonly string[]): Promise<Buffer> {
    await using file = await open(path, 'r')
    return await finished(start(args, [file.fd, 'pipe', 'pipe']), args)
  }

  function stream(...args: readonly string[]): Readable {
    const child = start(args, ['ignore', 'pipe', 'pipe'])
    const out = new PassThrough()
    child.stdout?.pipe(out, { end: false })
    finished(child, args, false).then(
      () => out.end(),
      (error: unknown) => out.destroy(error as Error),
    )
    return out
  }

  async function load(path: string): Promise<string[]> {
    const said = (await cli('load', '--input', path)).toString()
    return [...said.matchAll(/^Loaded image(?: ID)?: (\S+)$/gm)].map((match) => match[1] as string)
  }

  async function exportImage(reference: string, path: string): Promise<void> {
    const id = await text('create', '--network=none', reference, '/never-run')
    await toFile(path, 'export', id)
    await cli('rm', '--volumes', id)
  }

  return {
    host,
    cli,
    text,
    toFile,
    fromFile,
    fromBytes,
    stream,
    load,
    exportImage,
    save: (path, ...references) => toFile(path, 'save', ...references),
    inspect: async (reference) => JSON.parse(await text('image', 'inspect', reference))[0] as ImageInspect,
    imageIds: async () => [
      ...new Set((await text('images', '--quiet', '--no-trunc')).split('\n').filter(Boolean)),
    ],
  }
}

/** Debian's client matches Debian's daemon. PATH may have another one first. */
function dockerProgram(): string {
  return existsSync('/usr/bin/docker') ? '/usr/bin/docker' : 'docker'
}

async function finished(child: ChildProcess, args: readonly string[], collect = true): Promise<Buffer> {
  const out: Buffer[] = []
  const err: Buffer[] = []
  if (collect) child.stdout?.on('data', (chunk: Buffer) => out.push(chunk))
  child.stderr?.on('data', (chunk: Buffer) => err.push(chunk))
  const code = await new Promise<number | string>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (exit, signal) => resolve(exit ?? signal ?? 'unknown'))
  })
  if (code === 0) return Buffer.concat(out)
  throw new Error(`docker ${args.join(' ')}: exit ${code}: ${Buffer.concat(err).toString().trim()}`)
}
