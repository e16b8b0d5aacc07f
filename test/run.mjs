#!/usr/bin/env node
/**
 * What `npm test` runs: the whole suite as whoever calls it, and, for root on Linux, the parts that touch the system
 * again with less: as root without CAP_SYS_ADMIN, as an ordinary user, and as one without koffi, which has no system calls
 * but Node's own. What needs the device-mapper runs in User-Mode Linux (`uml/boot.mjs`) where the kernel has none.
 * Arguments name test files or folders.
 *
 * A test that cannot run here is skipped and listed at the end under its reason; with CI=true that is a failure, if it
 * was not run under another identity. The last line is `N passed, N failed`.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  accessSync,
  constants,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  chmodSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join, resolve } from 'node:path'
import { hasDeviceMapper } from './support/device-mapper.mjs'
import { sweep } from './sweep.mjs'

const ORDINARY_USER = '65534'
const FOLDERS_FOR_ALL = [
  'test/archives',
  'test/conformance',
  'test/drivers',
  'test/durable',
  'test/fs',
  'test/fuzz',
  'test/store',
  'test/sys',
]
/** And what an older kernel does otherwise: that of User-Mode Linux mounts overlays by options. */
const NEEDS_DEVICE_MAPPER = [
  'test/conformance/devicemapper.test.ts',
  'test/drivers/devicemapper.test.ts',
  'test/drivers/devicemapper-cut.test.ts',
  'test/drivers/devicemapper-input.test.ts',
  'test/drivers/devicemapper-judge.test.ts',
  'test/drivers/devicemapper-kill.test.ts',
  'test/drivers/devicemapper-options.test.ts',
  'test/drivers/devicemapper-pool.test.ts',
  'test/drivers/devicemapper-udev.test.ts',
  'test/sys/dm.test.ts',
  'test/sys/mount-overlay.test.ts',
]
const project = resolve(import.meta.dirname, '..')
const scratch = mkdtempSync(join(tmpdir(), 'layerstack-test-'))
const filters = process.argv.slice(2)
const ledger = join(scratch, 'ledger')
const strict = process.env.CI === 'true' || process.env.LAYERSTACK_REQUIRE_ALL === '1'

try {
  const runs = await runAll(identities())
  process.exitCode = report([...runs, ...checkedBtrfs()])
} finally {
  sweep(ledger)
  spawnSync('umount', ['-l', join(scratch, 'btrfs')])
  rmSync(scratch, { recursive: true, force: true })
}

/** @typedef {{ name: string, command: string[], directory: string, folders: string[], environment: Record<string, string>, aside?: boolean }} Identity */

/** @returns {Identity[]} */
function identities() {
  const whole = { name: 'as the caller', command: [], directory: project, folders: filters, environment: {} }
  const folders =
    filters.length > 0
      ? filters.filter(isForAll)
      : FOLDERS_FOR_ALL.filter((folder) => existsSync(join(project, folder)))
  const uml = inUserModeLinux()
  const drops = process.platform === 'linux' && process.getuid?.() === 0 && onPath('setpriv')
  if (!drops || folders.length === 0) return [whole, ...uml]
  const user = ordinary(folders)
  const withoutCalls = {
    ...user,
    name: 'as an ordinary user without koffi',
    environment: { ...user.environment, LAYERSTACK_NO_KOFFI: '1' },
  }
  return [whole, withoutAdmin(folders), user, withoutCalls, ...uml]
}

function withoutAdmin(folders) {
  const command = ['setpriv', '--bounding-set=-sys_admin', '--inh-caps=-sys_admin']
  return { name: 'as root without CAP_SYS_ADMIN', command, directory: project, folders, environment: {} }
}

function inUserModeLinux() {
  const folders =
    filters.length === 0
      ? NEEDS_DEVICE_MAPPER
      : NEEDS_DEVICE_MAPPER.flatMap((wanted) =>
          filters.some((filter) => wanted.startsWith(filter))
            ? [wanted]
            : filters.filter((filter) => filter.startsWith(wanted)),
        )
  const works = process.platform === 'linux' && process.arch === 'x64' && onPath('linux.uml')
  if (!works || hasDeviceMapper || folders.length === 0) return []
  const command = [process.execPath, join(project, 'test/uml/boot.mjs'), '--shared', scratch]
  return [{ name: 'in User-Mode Linux', command, directory: project, folders, environment: {}, aside: true }]
}

function ordinary(folders) {
  const home = join(scratch, 'home')
  mkdirSync(home)
  spawnSync('chown', [ORDINARY_USER, home])
  chmodSync(scratch, 0o711)
  const command = [
    'setpriv',
    `--reuid=${ORDINARY_USER}`,
    `--regid=${ORDINARY_USER}`,
    '--clear-groups',
    '--inh-caps=-all',
    '--bounding-set=-all',
  ]
  return {
    name: 'as an ordinary user',
    command,
    directory: readable(command),
    folders,
    environment: { HOME: home, TMPDIR: home, ...btrfsOfTheUser() },
  }
}

/** A directory on btrfs that the ordinary user owns, if one can be had. */
function btrfsOfTheUser() {
  const [image, path] = [join(scratch, 'btrfs.img'), join(scratch, 'btrfs')]
  mkdirSync(path)
  writeFileSync(image, '')
  truncateSync(image, 2 ** 30)
  const isThere = [
    ['mkfs.btrfs', '-q', image],
    ['mount', '-o', 'loop', image, path],
    ['chown', ORDINARY_USER, path],
  ].every(([program, ...rest]) => spawnSync(program, rest).status === 0)
  return isThere ? { LAYERSTACK_TEST_BTRFS: path } : {}
}

/** Its file system, when all have been there. */
function checkedBtrfs() {
  const [image, path] = [join(scratch, 'btrfs.img'), join(scratch, 'btrfs')]
  if (spawnSync('umount', [path]).status !== 0) return []
  const { status, stdout, stderr } = spawnSync('btrfs', ['check', image], { encoding: 'utf8' })
  const id = 'btrfs check finds nothing in the file system that tests were run on'
  const test = { id, status: status === 0 ? 'passed' : 'failed', message: `${stderr}\n${stdout}` }
  return [{ name: 'as an ordinary user', tests: [test] }]
}

/** The project, or a copy of it where an ordinary user may not read it. */
function readable(command) {
  const [program, ...rest] = [...command, 'test', '-r', join(project, 'package.json')]
  if (spawnSync(program, rest).status === 0) return project
  const copy = join(scratch, 'project')
  mkdirSync(copy)
  for (const name of [
    'package.json',
    'vitest.config.ts',
    'tsconfig.json',
    'dist',
    'test',
    'node_modules',
    'src',
  ]) {
    cpSync(join(project, name), join(copy, name), { recursive: true, verbatimSymlinks: true })
  }
  return copy
}

/**
 * One after the other, and beside them what runs on a kernel of its own, whose output is shown at the end.
 * @param {Identity[]} all
 */
async function runAll(all) {
  const beside = all.filter(({ aside }) => aside).map((identity) => runAs(identity, all.indexOf(identity)))
  const runs = []
  for (const [index, identity] of all.entries()) if (!identity.aside) runs.push(await runAs(identity, index))
  return [...runs, ...(await Promise.all(beside))]
}

/** @param {Identity} identity */
async function runAs({ name, command, directory, folders, environment, aside }, index) {
  const title = `\n── ${name} ${'─'.repeat(Math.max(0, 90 - name.length))}`
  if (!aside) console.log(title)
  const output = join(environment.HOME ?? scratch, `run-${index}.json`)
  const vitest = [
    process.execPath,
    join(directory, 'node_modules/vitest/vitest.mjs'),
    'run',
    '--configLoader=runner',
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${output}`,
  ]
  const [program, ...rest] = [...command, ...vitest, ...folders]
  const shown = aside ? join(scratch, `run-${index}.log`) : undefined
  const stream = shown === undefined ? 'inherit' : openSync(shown, 'w')
  const child = spawn(program, rest, {
    cwd: directory,
    stdio: ['ignore', stream, stream],
    env: {
      ...process.env,
      ...environment,
      LAYERSTACK_TEST_IDENTITY: name,
      ...(index === 0 && { LAYERSTACK_TEST_LEDGER: ledger }),
    },
  })
  const [status] = await once(child, 'exit')
  if (shown !== undefined) console.log(`${title}\n${readFileSync(shown, 'utf8')}`)
  const results = existsSync(output) ? JSON.parse(readFileSync(output, 'utf8')).testResults : []
  const tests = results.flatMap((file) =>
    file.assertionResults.map((test) => ({
      id: `${file.name.slice(directory.length + 1)} › ${test.fullName}`,
      status: test.status,
      reason: test.meta?.reason,
      message: test.failureMessages?.[0],
    })),
  )
  for (const file of results) {
    if (file.status !== 'failed' || file.assertionResults.length > 0) continue
    tests.push({ id: file.name.slice(directory.length + 1), status: 'failed', message: file.message })
  }
  if (status !== 0 && tests.every((test) => test.status !== 'failed')) {
    tests.push({ id: 'the run itself', status: 'failed', message: `vitest ended with ${status}` })
  }
  return { name, tests }
}

function report(runs) {
  const all = runs.flatMap((run) => run.tests)
  const passedSomewhere = new Set(all.filter((test) => test.status === 'passed').map((test) => test.id))
  const skipped = new Map()
  for (const test of all.filter(({ id }) => !passedSomewhere.has(id))) {
    if (isSkipped(test) && !skipped.has(test.id)) skipped.set(test.id, test.reason)
  }
  const passed = all.filter((test) => test.status === 'passed').length
  const failures = runs.flatMap(({ name, tests }) =>
    tests.filter(({ status }) => status === 'failed').map((test) => ({ ...test, name })),
  )
  if (skipped.size > 0) console.log(`\nNot exercised here:\n${table(skipped)}`)
  if (skipped.size > 0 && strict) console.log('\nIn CI a skipped test is a failure.')
  for (const { name, id, message } of failures) console.log(`\nFailed ${name}: ${id}\n${firstLines(message)}`)
  const bad = failures.length + (strict ? skipped.size : 0)
  console.log(
    `\n${passed} passed, ${bad} failed${!strict && skipped.size > 0 ? `, ${skipped.size} skipped` : ''}`,
  )
  return bad > 0 || passed === 0 ? 1 : 0
}

/** Each reason (`support/needs.ts`) once, and below it what was skipped for it. */
function table(skipped) {
  const reasons = [...new Set(skipped.values())]
  return reasons
    .map((reason) => {
      const ids = [...skipped].filter((entry) => entry[1] === reason).map(([id]) => `    ${id}`)
      return [`  ${reason ?? 'for no reason given'}:`, ...ids].join('\n')
    })
    .join('\n')
}

function firstLines(text = '') {
  return text.split('\n', 20).join('\n')
}

function isSkipped({ status }) {
  return status !== 'passed' && status !== 'failed'
}

function isForAll(filter) {
  return FOLDERS_FOR_ALL.some((folder) => filter.startsWith(folder))
}

function onPath(program) {
  return (process.env.PATH ?? '').split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
