#!/usr/bin/env node
/**
 * Runs the tests, and ends with `N passed, N failed`:
 *
 *     npm test                      all that needs no daemon and takes seconds, as the caller
 *     npm test -- PATH…             files or folders, as the caller
 *     npm test -- --as user PATH…   as another identity: root-without-admin, user, user-without-koffi, uml
 *     npm run test:unit             what only computes; -- --watch runs it again on every change
 *     npm run test:all              everything, under every identity
 *
 * Tags in the files say what a file needs (`runner/tags.mjs`). A test that cannot run on this machine is skipped, and
 * counted below its reason. With CI=true that is a failure, unless the test ran under another identity.
 */
import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { Identities, identityNames } from './runner/identities.mjs'
import { report } from './runner/report.mjs'
import { sweep } from './runner/sweep.mjs'
import { hasTag, testFiles } from './runner/tags.mjs'
import { runTests, watchTests } from './runner/vitest.mjs'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    all: { type: 'boolean', default: false },
    unit: { type: 'boolean', default: false },
    watch: { type: 'boolean', default: false },
    as: { type: 'string', multiple: true, default: [] },
  },
})
const project = resolve(import.meta.dirname, '..')
const files = testFiles(project)
const asked = files.filter(isAsked)
const names = values.all ? identityNames() : values.as.length > 0 ? values.as : ['caller']
const unknown = names.find((name) => !identityNames().includes(name))
if (unknown !== undefined) fail(`cannot run tests as ${unknown} here, only as ${identityNames().join(', ')}`)
if (asked.length === 0) fail(`no test file matches ${positionals.join(', ')}`)

if (values.watch) await watchTests(project, asked.map(pathOf))
else process.exitCode = (await runHere()) ? 0 : 1

/** @returns {Promise<boolean>} whether all is well */
async function runHere() {
  // Once for all identities. In watch mode vitest does it.
  const build = spawnSync('npm', ['run', '--silent', 'build'], { cwd: project, stdio: 'inherit' })
  if (build.status !== 0) fail('the source does not compile')
  const scratch = mkdtempSync(join(tmpdir(), 'layerstack-test-'))
  const ledger = join(scratch, 'ledger')
  writeFileSync(ledger, '')
  // Every identity adds to it.
  chmodSync(ledger, 0o666)
  const identities = new Identities(project, scratch)
  try {
    const runs = await runAll(plan(identities), {
      scratch,
      ledger,
      environment: {
        LAYERSTACK_TEST_BUILT: '1',
        ...(isThorough() && { LAYERSTACK_TEST_THOROUGH: '1' }),
      },
    })
    const left = values.unit || positionals.length > 0 ? 0 : files.length - asked.length
    return report([...runs, ...identities.check()], { strict: process.env.CI === 'true', filesNotRun: left })
  } finally {
    sweep(ledger)
    identities.close()
    rmSync(scratch, { recursive: true, force: true })
  }
}

/** Which identity runs which files. */
function plan(identities) {
  return names
    .map((name) => ({ identity: identities.prepare(name), paths: filesFor(name).map(pathOf) }))
    .filter(({ paths }) => paths.length > 0)
}

function filesFor(name) {
  if (!values.all || name === 'caller') return asked
  return asked.filter((file) => hasTag(file, name === 'uml' ? 'device-mapper' : 'every-identity'))
}

/** One after the other, and beside them the identity with a kernel of its own. */
async function runAll(planned, options) {
  const aside = planned.filter(({ identity }) => identity.aside).map((run) => runTests(run, options))
  const runs = []
  for (const run of planned.filter(({ identity }) => !identity.aside)) runs.push(await runTests(run, options))
  return [...runs, ...(await Promise.all(aside))]
}

function isAsked(file) {
  if (positionals.length > 0) return positionals.some((path) => file.path.includes(path.replace(/^\.\//, '')))
  if (values.unit) return hasTag(file, 'unit')
  return values.all || !hasTag(file, 'thorough', 'judge')
}

function isThorough() {
  return values.all || positionals.length > 0
}

function pathOf({ path }) {
  return path
}

function fail(message) {
  console.error(message)
  process.exit(1)
}
