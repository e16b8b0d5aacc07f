#!/usr/bin/env node
/**
 * Runs a command in User-Mode Linux, a Linux kernel in a process, which has the device-mapper:
 *
 *     node test/uml/boot.mjs [--shared DIRECTORY] COMMAND ARGUMENT…
 *
 * The command runs as root, in the caller's directory and environment. It sees the host's files read-only, can write to
 * the shared directory, and has TMPDIR in memory. This program exits with the command's status. After
 * LAYERSTACK_UML_MINUTES (60), it kills the kernel and everything in it. LAYERSTACK_UML_MEMORY is its memory, in
 * gigabytes (4G).
 */
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const words = process.argv.slice(2)
const given = words[0] === '--shared' ? words.splice(0, 2)[1] : undefined
const minutes = Number(process.env.LAYERSTACK_UML_MINUTES ?? 60)
const memory = process.env.LAYERSTACK_UML_MEMORY ?? '4G'
const scratch = mkdtempSync(join(given ?? tmpdir(), 'layerstack-uml-'))
const shared = given ?? scratch
const status = join(scratch, 'status')
try {
  writeFileSync(join(scratch, 'command'), script())
  await boot()
  process.exitCode = existsSync(status) ? Number(readFileSync(status, 'utf8')) : 1
} finally {
  rmSync(scratch, { recursive: true, force: true })
}

async function boot() {
  const kernel = spawn('taskset', ['--cpu-list', oneProcessor(), 'linux.uml', ...kernelArguments()], {
    stdio: ['ignore', 'inherit', 'ignore'],
    env: { ...process.env, ...preload(), ...memoryBelow() },
    detached: true,
  })
  const over = new Promise((resolve, reject) => kernel.once('close', resolve).once('error', reject))
  const end = () => killGroup(kernel.pid)
  const clock = setTimeout(() => {
    console.log(`\nUser-Mode Linux was ended after ${minutes} minutes`)
    end()
  }, minutes * 60_000)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, end)
  await over
  clearTimeout(clock)
  end()
}

/** The kernel and its processes run in turns. A switch between processors would double the time of each turn. */
function oneProcessor() {
  return readFileSync('/proc/self/status', 'utf8').match(/^Cpus_allowed_list:.*?(\d+)$/m)[1]
}

/** The kernel's memory is a file. On a disk, each sync on the host would write gigabytes of it. */
function memoryBelow() {
  const directory = '/dev/shm'
  if (!existsSync(directory)) return {}
  const { bavail, bsize } = statfsSync(directory)
  return bavail * bsize > parseInt(memory) * 2 ** 30 ? { TMPDIR: directory } : {}
}

function kernelArguments() {
  const init = join(scratch, 'init')
  writeFileSync(init, readFileSync(join(import.meta.dirname, 'init.sh')), { mode: 0o755 })
  return [
    `mem=${memory}`,
    'rootfstype=hostfs',
    'rootflags=/',
    'ro',
    `init=${init}`,
    `UML_SHARED=${shared}`,
    `UML_SCRATCH=${scratch}`,
    `uml_dir=${scratch}`,
    'con=null',
    'con0=null,fd:1',
    'quiet',
  ]
}

function script() {
  const environment = { ...process.env, TMPDIR: '/run/tmp', DM_DISABLE_UDEV: '1' }
  const exports = Object.entries(environment)
    .filter(([name]) => /^\w+$/.test(name))
    .map(([name, value]) => `export ${name}=${quoted(value)}`)
  return [...exports, `cd ${quoted(process.cwd())}`, `exec ${words.map(quoted).join(' ')}`, ''].join('\n')
}

function quoted(word) {
  return `'${word.replaceAll("'", String.raw`'\''`)}'`
}

/** See `wide-registers.c`. */
function preload() {
  if (!/\bamx_tile\b/.test(readFileSync('/proc/cpuinfo', 'utf8'))) return {}
  const library = join(scratch, 'wide-registers.so')
  execFileSync('cc', [
    '-shared',
    '-fPIC',
    '-O2',
    '-nostdlib',
    '-o',
    library,
    join(import.meta.dirname, 'wide-registers.c'),
  ])
  return { LD_PRELOAD: library }
}

/** Processes in User-Mode Linux are processes of the host, in the kernel's process group. */
function killGroup(group) {
  try {
    process.kill(-group, 'SIGKILL')
  } catch {
    // All have ended.
  }
}
