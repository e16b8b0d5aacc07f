import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * One test of one run.
 * @typedef {{ id: string, status: 'passed' | 'failed' | 'skipped', reason?: string, message?: string }} TestResult
 */
/** @typedef {{ name: string, tests: TestResult[] }} Run */

/**
 * Runs test files as an identity.
 * @param {{ identity: import('./identities.mjs').Identity, paths: string[] }} planned
 * @param {{ scratch: string, ledger: string, environment: Record<string, string> }} options
 * @returns {Promise<Run>}
 */
export async function runTests({ identity, paths }, { scratch, ledger, environment }) {
  const { name, command, directory, aside } = identity
  const title = `\n── ${name} ${'─'.repeat(Math.max(0, 90 - name.length))}`
  if (!aside) console.log(title)
  const output = join(identity.environment.HOME ?? scratch, `${name}.json`)
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${output}`]
  const [program = '', ...rest] = [...command, ...vitest(directory, 'run'), ...reporters, ...paths]
  const log = aside ? join(scratch, `${name}.log`) : undefined
  const stream = log === undefined ? 'inherit' : openSync(log, 'w')
  const child = spawn(program, rest, {
    cwd: directory,
    stdio: ['ignore', stream, stream],
    env: {
      ...process.env,
      ...environment,
      ...identity.environment,
      LAYERSTACK_TEST_IDENTITY: name,
      // Processes of another kernel are not ours to end.
      ...(!aside && { LAYERSTACK_TEST_LEDGER: ledger }),
    },
  })
  const [status] = await once(child, 'exit')
  if (log !== undefined) console.log(`${title}\n${readFileSync(log, 'utf8')}`)
  const tests = resultsIn(output, directory)
  if (status !== 0 && tests.every((test) => test.status !== 'failed')) {
    tests.push({ id: 'the run itself', status: 'failed', message: `vitest ended with ${status}` })
  }
  return { name, tests }
}

/**
 * Runs test files again whenever they or the source change, until the caller ends it.
 * @param {string} project
 * @param {string[]} files
 */
export async function watchTests(project, files) {
  const [program = '', ...rest] = vitest(project, 'watch')
  await once(spawn(program, [...rest, ...files], { cwd: project, stdio: 'inherit' }), 'exit')
}

/**
 * @param {string} directory
 * @param {'run' | 'watch'} mode
 */
function vitest(directory, mode) {
  return [process.execPath, join(directory, 'node_modules/vitest/vitest.mjs'), mode, '--configLoader=runner']
}

/**
 * @param {string} output
 * @param {string} directory
 * @returns {TestResult[]}
 */
function resultsIn(output, directory) {
  if (!existsSync(output)) return []
  return JSON.parse(readFileSync(output, 'utf8')).testResults.flatMap((file) => {
    const path = file.name.slice(directory.length + 1)
    if (file.status === 'failed' && file.assertionResults.length === 0) {
      return [{ id: path, status: 'failed', message: file.message }]
    }
    return file.assertionResults.map((test) => ({
      id: `${path} › ${test.fullName}`,
      status: test.status === 'passed' || test.status === 'failed' ? test.status : 'skipped',
      reason: test.meta?.reason,
      message: test.failureMessages?.[0],
    }))
  })
}
