package main

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/blang/semver"
	"github.com/google/uuid"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
)

const (
	// organization is the only one; backends of files call theirs so, too.
	organization = "organization"
	// limit bounds a request that is unpacked, in bytes.
	limit = 1 << 30
)

// API answers what Pulumi's command line asks of its service: pkg/backend/httpstate/client of
// github.com/pulumi/pulumi, in the types of sdk/go/common/apitype.
type API struct {
	store  *Store
	routes *http.ServeMux
	// pulumi is the release of the package that replays journals.
	pulumi semver.Version
}

// request is one call, by somebody who has shown a token.
type request struct {
	*http.Request
	who   string // whose access token it is; empty with a lease
	lease string // of an update; empty with an access token
	body  []byte
}

// statusError is an answer that is no success.
type statusError struct {
	status  int
	message string
}

func (e statusError) Error() string { return e.message }

// NewAPI returns the handler of a store's states.
func NewAPI(store *Store) *API {
	a := &API{store: store, routes: http.NewServeMux(), pulumi: replayerVersion()}
	const stack = "/api/stacks/" + organization + "/{project}/{stack}"
	const update = stack + "/{kind}/{update}"
	for pattern, answer := range map[string]func(request) (any, error){
		"GET /api/user":                                   a.user,
		"GET /api/user/organizations/default":             a.defaultOrganization,
		"GET /api/user/stacks":                            a.stacks,
		"HEAD /api/stacks/" + organization + "/{project}": a.project,
		"POST /api/stacks/" + organization + "/{project}": a.createStack,
		"GET " + stack:                                    a.stack,
		"DELETE " + stack:                                 a.deleteStack,
		"PATCH " + stack + "/tags":                        a.tags,
		"POST " + stack + "/rename":                       a.rename,
		"GET " + stack + "/export":                        a.export,
		"GET " + stack + "/export/{version}":              a.export,
		"POST " + stack + "/import":                       a.importState,
		"GET " + stack + "/outputs":                       a.outputs,
		"POST " + stack + "/encrypt":                      a.encrypt,
		"POST " + stack + "/decrypt":                      a.decrypt,
		"POST " + stack + "/batch-encrypt":                a.batchEncrypt,
		"POST " + stack + "/batch-decrypt":                a.batchDecrypt,
		"POST " + stack + "/decrypt/{log}":                a.nothing,
		"GET " + stack + "/updates":                       a.history,
		"GET " + stack + "/updates/{version}":             a.historyOf,
		"POST " + stack + "/begin-update":                 a.beginUpdate,
		"POST " + stack + "/{kind}":                       a.createUpdate,
		"POST " + update:                                  a.startUpdate,
		"GET " + update:                                   a.status,
		"POST " + update + "/cancel":                      a.cancel,
		"POST " + update + "/renew_lease":                 a.renew,
		"PATCH " + update + "/journalentries":             a.journal,
		"PATCH " + update + "/checkpoint":                 a.checkpoint,
		"POST " + update + "/events":                      a.nothing,
		"POST " + update + "/events/batch":                a.events,
		"POST " + update + "/complete":                    a.complete,
	} {
		a.routes.Handle(pattern, a.handler(answer))
	}
	a.routes.HandleFunc("GET /api/capabilities", func(w http.ResponseWriter, _ *http.Request) { write(w, a.capabilities()) })
	return a
}

// ServeHTTP answers one request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, pattern := a.routes.Handler(r); pattern == "" {
		refuse(w, statusError{http.StatusNotFound, "Not Found"})
		return
	}
	a.routes.ServeHTTP(w, r)
}

func (a *API) handler(answer func(request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		call, err := a.read(w, r)
		if err != nil {
			refuse(w, err)
			return
		}
		result, err := answer(call)
		if err != nil {
			refuse(w, err)
			return
		}
		write(w, result)
	})
}

// read takes a request in, from somebody who may ask.
func (a *API) read(w http.ResponseWriter, r *http.Request) (request, error) {
	call := request{Request: r}
	kind, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	switch kind {
	case "token":
		who, err := a.store.Owner(r.Context(), token)
		if err != nil {
			return call, err
		}
		call.who = who
	case "update-token":
		call.lease = token
	}
	ofUpdate := map[string]bool{"renew_lease": true, "journalentries": true, "checkpoint": true, "batch": true, "complete": true}
	wantsLease := r.PathValue("update") != "" && ofUpdate[r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]]
	if call.who == "" && !wantsLease || call.lease == "" && wantsLease {
		return call, statusError{http.StatusUnauthorized, "Unauthorized: no access token, or one that is not known here"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		return call, statusError{http.StatusRequestEntityTooLarge, "Content Too Large"}
	}
	call.body = body
	return call, nil
}

// unpacked returns the body as it was before the client packed it.
func (r request) unpacked() ([]byte, error) {
	if r.Header.Get("Content-Encoding") != "gzip" {
		return r.body, nil
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(r.body))
	if err != nil {
		return nil, statusError{http.StatusBadRequest, "Bad Request: " + err.Error()}
	}
	body, err := io.ReadAll(io.LimitReader(unpacked, limit+1))
	if err != nil {
		return nil, statusError{http.StatusBadRequest, "Bad Request: " + err.Error()}
	}
	if len(body) > limit {
		return nil, statusError{http.StatusRequestEntityTooLarge, "Content Too Large"}
	}
	return body, nil
}

// decode reads the body into what it should be.
func (r request) decode(into any) error {
	body, err := r.unpacked()
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return statusError{http.StatusBadRequest, "Bad Request: " + err.Error()}
	}
	return nil
}

func write(w http.ResponseWriter, result any) {
	if result == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(result); err != nil {
		log.Printf("an answer was not taken: %v", err)
	}
}

// refuse answers with an error in the shape that the client prints.
func refuse(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	var own statusError
	var busy busyError
	switch {
	case errors.As(err, &own):
		status = own.status
	case errors.As(err, &busy):
		status = http.StatusConflict
	case errors.Is(err, errNoStack), errors.Is(err, errNoUpdate):
		status = http.StatusNotFound
	case errors.Is(err, errLeaseOver):
		status = http.StatusForbidden
	case errors.Is(err, errHasResources):
		status = http.StatusBadRequest
	default:
		log.Printf("error: %v", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(apitype.ErrorResponse{Code: status, Message: err.Error()})
}

func (a *API) nothing(request) (any, error) { return nil, nil }

func (a *API) capabilities() apitype.CapabilitiesResponse {
	journals, _ := json.Marshal(map[string]string{"pulumi": fmt.Sprintf("%d.%d", a.pulumi.Major, a.pulumi.Minor)})
	version, _ := json.Marshal(apitype.DeploymentSchemaVersionConfig{Version: apitype.DeploymentSchemaVersionLatest})
	return apitype.CapabilitiesResponse{Capabilities: []apitype.APICapabilityConfig{
		{Capability: apitype.BatchEncrypt},
		{Capability: apitype.BeginUpdate, Version: 1},
		{Capability: apitype.StackOutputs, Version: 1},
		{Capability: apitype.DeploymentSchemaVersion, Version: 1, Configuration: version},
		// For fleet; Pulumi passes over what it does not know. Up to which release of it journals are offered.
		{Capability: "fleet-journal", Version: 1, Configuration: journals},
	}}
}

func (a *API) user(r request) (any, error) {
	type who struct {
		Login string `json:"githubLogin"`
		Name  string `json:"name"`
	}
	return struct {
		who
		ID            string `json:"id"`
		Organizations []who  `json:"organizations"`
	}{who{r.who, r.who}, r.who, []who{{organization, organization}}}, nil
}

func (a *API) defaultOrganization(request) (any, error) {
	return apitype.GetDefaultOrganizationResponse{GitHubLogin: organization}, nil
}

func (a *API) stacks(r request) (any, error) {
	query := r.URL.Query()
	if wanted := query.Get("organization"); wanted != "" && wanted != organization {
		return apitype.ListStacksResponse{Stacks: []apitype.StackSummary{}}, nil
	}
	stacks, err := a.store.Summaries(r.Context(), func(stack Stack) bool {
		project, tag, value := query.Get("project"), query.Get("tagName"), query.Get("tagValue")
		has, tagged := stack.Tags[tag]
		return (project == "" || project == stack.Project) && (tag == "" || tagged && (value == "" || value == has))
	})
	return apitype.ListStacksResponse{Stacks: stacks}, err
}

func (a *API) project(r request) (any, error) {
	has, err := a.store.HasProject(r.Context(), r.PathValue("project"))
	if err == nil && !has {
		err = statusError{http.StatusNotFound, "Not Found: project"}
	}
	return nil, err
}

func (a *API) createStack(r request) (any, error) {
	var wanted apitype.CreateStackRequest
	if err := r.decode(&wanted); err != nil {
		return nil, err
	}
	if _, err := tokens.ParseStackName(wanted.StackName); err != nil {
		return nil, statusError{http.StatusBadRequest, "Bad Request: " + err.Error()}
	}
	if wanted.Config != nil || wanted.CreateManagedEnvironment {
		return nil, statusError{http.StatusBadRequest, "Bad Request: config is kept in files here, not in environments"}
	}
	if wanted.State != nil {
		if err := checkState(*wanted.State); err != nil {
			return nil, err
		}
	}
	stack := Stack{Project: r.PathValue("project"), Name: wanted.StackName, Tags: wanted.Tags}
	return apitype.CreateStackResponse{}, a.store.CreateStack(r.Context(), stack, wanted.State)
}

// named is the stack that a request's path names.
func (a *API) named(r request) (Stack, error) {
	return a.store.Stack(r.Context(), r.PathValue("project"), r.PathValue("stack"))
}

func (a *API) stack(r request) (any, error) {
	stack, err := a.named(r)
	if err != nil {
		return nil, err
	}
	return a.described(r, stack)
}

func (a *API) described(r request, stack Stack) (apitype.Stack, error) {
	described := apitype.Stack{
		ID:          strconv.FormatInt(stack.ID, 10),
		OrgName:     organization,
		ProjectName: stack.Project,
		StackName:   tokens.QName(stack.Name),
		Tags:        stack.Tags,
		Version:     stack.Version,
	}
	latest, err := a.store.Latest(r.Context(), stack.ID)
	if errors.Is(err, errNoUpdate) {
		return described, nil
	}
	described.ActiveUpdate = latest.ID
	if latest.IsAlive() {
		described.CurrentOperation = &apitype.OperationStatus{
			Kind: latest.Kind, Author: latest.Author, Started: latest.Started,
		}
	}
	return described, err
}

func (a *API) deleteStack(r request) (any, error) {
	stack, err := a.named(r)
	if err != nil {
		return nil, err
	}
	return nil, a.store.DeleteStack(r.Context(), stack, r.URL.Query().Get("force") == "true")
}

func (a *API) tags(r request) (any, error) {
	stack, err := a.named(r)
	if err != nil {
		return nil, err
	}
	var tags map[string]string
	if err := r.decode(&tags); err != nil {
		return nil, err
	}
	return nil, a.store.SetTags(r.Context(), stack.ID, tags)
}

func (a *API) rename(r request) (any, error) {
	stack, err := a.named(r)
	if err != nil {
		return nil, err
	}
	wanted := apitype.StackRenameRequest{}
	if err := r.decode(&wanted); err != nil {
		return nil, err
	}
	if wanted.NewName == "" {
		wanted.NewName = stack.Name
	}
	if wanted.NewProject == "" {
		wanted.NewProject = stack.Project
	}
	if _, err := tokens.ParseStackName(wanted.NewName); err != nil {
		return nil, statusError{http.StatusBadRequest, "Bad Request: " + err.Error()}
	}
	return nil, a.store.Rename(r.Context(), stack, wanted.NewProject, wanted.NewName)
}

func (a *API) export(r request) (any, error) {
	stack, err := a.named(r)
	if err != nil {
		return nil, err
	}
	version := int64(-1)
	if text := r.PathValue("version"); text != "" {
		version, err = strconv.ParseInt(text, 10, 64)
		if err != nil || version < 0 || version > int64(stack.Version) {
			return nil, statusError{http.StatusNotFound, "Not Found: the stack has no version " + text}
		}
	}
	state, err := a.store.State(r.Context(), stack.ID, version)
	return apitype.ExportStackResponse(state), err
}

// checkState refuses a state that no journal could be replayed on.
func checkState(state apitype.UntypedDeployment) error {
	if state.Version < 3 || state.Version > apitype.DeploymentSchemaVersionLatest {
		return statusError{http.StatusBadRequest, fmt.Sprintf("Bad Request: the state is of schema %d; 3 and %d are known. "+
			"Import it with the release of Pulumi that wrote it, then export it again", state.Version,
			apitype.DeploymentSchemaVersionLatest)}
	}
	var typed apitype.DeploymentV3
	if err := json.Unmarshal(state.Deployment, &typed); err != nil {
		return statusError{http.StatusBadRequest, "Bad Request: the state cannot be read: " + err.Error()}
	}
	return nil
}

func (a *API) importState(r request) (any, error) {
	stack, err := a.named(r)
	if err != nil {
		return nil, err
	}
	var state apitype.UntypedDeployment
	if err := r.decode(&state); err != nil {
		return nil, err
	}
	if state.Deployment == nil || string(state.Deployment) == "null" {
		state.Deployment = json.RawMessage(emptyDeployment)
	}
	if err := checkState(state); err != nil {
		return nil, err
	}
	update := Update{ID: uuid.NewString(), Stack: stack.ID, Kind: apitype.StackImportUpdate, Author: r.who}
	return apitype.ImportStackResponse{UpdateID: update.ID}, a.store.Import(r.Context(), update, state)
}

func (a *API) outputs(r request) (any, error) {
	stack, err := a.named(r)
	if err != nil {
		return nil, err
	}
	state, err := a.store.State(r.Context(), stack.ID, -1)
	if err != nil {
		return nil, err
	}
	var deployment apitype.DeploymentV3
	if err := json.Unmarshal(state.Deployment, &deployment); err != nil {
		return nil, err
	}
	for _, resource := range deployment.Resources {
		if resource.Type == "pulumi:pulumi:Stack" && !resource.Delete {
			return apitype.StackOutputsResponse{
				Outputs: resource.Outputs, SecretsProviders: deployment.SecretsProviders,
			}, nil
		}
	}
	return apitype.StackOutputsResponse{}, nil
}

// box is the stack's that a request's path names, or once named.
func (a *API) box(r request) (Box, string, error) {
	return a.store.BoxOf(r.Context(), r.PathValue("project"), r.PathValue("stack"))
}

func (a *API) encrypt(r request) (any, error) {
	var wanted apitype.EncryptValueRequest
	if err := r.decode(&wanted); err != nil {
		return nil, err
	}
	box, purpose, err := a.box(r)
	if err != nil {
		return nil, err
	}
	return apitype.EncryptValueResponse{Ciphertext: box.Lock(wanted.Plaintext, purpose)}, nil
}

func (a *API) batchEncrypt(r request) (any, error) {
	var wanted apitype.BatchEncryptRequest
	if err := r.decode(&wanted); err != nil {
		return nil, err
	}
	box, purpose, err := a.box(r)
	if err != nil {
		return nil, err
	}
	locked := make([][]byte, len(wanted.Plaintexts))
	for index, value := range wanted.Plaintexts {
		locked[index] = box.Lock(value, purpose)
	}
	return apitype.BatchEncryptResponse{Ciphertexts: locked}, nil
}

func unlock(box Box, locked []byte, purpose string) ([]byte, error) {
	value, err := box.Unlock(locked, purpose)
	if err != nil {
		return nil, statusError{http.StatusBadRequest, "Bad Request: " + err.Error()}
	}
	return value, nil
}

func (a *API) decrypt(r request) (any, error) {
	var wanted apitype.DecryptValueRequest
	if err := r.decode(&wanted); err != nil {
		return nil, err
	}
	box, purpose, err := a.box(r)
	if err != nil {
		return nil, err
	}
	value, err := unlock(box, wanted.Ciphertext, purpose)
	return apitype.DecryptValueResponse{Plaintext: value}, err
}

func (a *API) batchDecrypt(r request) (any, error) {
	var wanted apitype.BatchDecryptRequest
	if err := r.decode(&wanted); err != nil {
		return nil, err
	}
	box, purpose, err := a.box(r)
	if err != nil {
		return nil, err
	}
	values := make(map[string][]byte, len(wanted.Ciphertexts))
	for _, locked := range wanted.Ciphertexts {
		value, err := unlock(box, locked, purpose)
		if err != nil {
			return nil, err
		}
		values[base64.StdEncoding.EncodeToString(locked)] = value
	}
	return apitype.BatchDecryptResponse{Plaintexts: values}, nil
}

func told(update Update) apitype.UpdateInfo {
	info := apitype.UpdateInfo{
		Kind:            update.Kind,
		StartTime:       update.Started,
		Message:         update.Request.Message,
		Environment:     update.Request.Environment,
		Config:          update.Request.Config,
		Result:          apitype.UpdateResult(update.Result),
		EndTime:         update.Ended.Int64,
		Version:         int(update.Version.Int64),
		ResourceChanges: update.Changes,
	}
	if !update.Ended.Valid && !update.IsAlive() {
		info.Result = apitype.FailedResult // It was killed; what it did is taken over when the next one begins.
	}
	return info
}

func (a *API) history(r request) (any, error) {
	stack, err := a.named(r)
	if err != nil {
		return nil, err
	}
	number := func(name string) int {
		value, err := strconv.Atoi(r.URL.Query().Get(name))
		if err != nil || value < 1 {
			return 0
		}
		return value
	}
	updates, err := a.store.History(r.Context(), stack.ID, number("pageSize"), max(1, number("page")))
	answer := apitype.GetHistoryResponse{Updates: []apitype.UpdateInfo{}}
	for _, update := range updates {
		answer.Updates = append(answer.Updates, told(update))
	}
	return answer, err
}

func (a *API) historyOf(r request) (any, error) {
	stack, err := a.named(r)
	if err != nil {
		return nil, err
	}
	updates, err := a.store.History(r.Context(), stack.ID, 0, 1)
	if err != nil {
		return nil, err
	}
	for _, update := range updates {
		info := told(update)
		if wanted := r.PathValue("version"); wanted == "latest" || wanted == strconv.Itoa(info.Version) {
			return struct {
				Info apitype.UpdateInfo `json:"info"`
			}{info}, nil
		}
	}
	return nil, errNoUpdate
}

// kinds are the updates that may be begun, by the last part of their path.
var kinds = map[string]apitype.UpdateKind{
	"update":  apitype.UpdateUpdate,
	"preview": apitype.PreviewUpdate,
	"refresh": apitype.RefreshUpdate,
	"destroy": apitype.DestroyUpdate,
}

func (a *API) propose(r request, stack Stack, kind apitype.UpdateKind, program apitype.UpdateProgramRequest) (Update, error) {
	if program.CoherenceWindow != "" {
		return Update{}, statusError{http.StatusBadRequest, "Bad Request: coherence windows are not known here"}
	}
	if program.Options.DryRun {
		kind = apitype.PreviewUpdate
	}
	update := Update{ID: uuid.NewString(), Stack: stack.ID, Kind: kind, Author: r.who, Request: UpdateRequest{
		program.Metadata.Message, program.Metadata.Environment, program.Config,
	}}
	return update, a.store.Propose(r.Context(), update)
}

func (a *API) createUpdate(r request) (any, error) {
	kind, known := kinds[r.PathValue("kind")]
	if !known {
		return nil, statusError{http.StatusNotFound, "Not Found"}
	}
	stack, err := a.named(r)
	if err != nil {
		return nil, err
	}
	var program apitype.UpdateProgramRequest
	if err := r.decode(&program); err != nil {
		return nil, err
	}
	update, err := a.propose(r, stack, kind, program)
	return apitype.UpdateProgramResponse{UpdateID: update.ID, Messages: a.messages(r)}, err
}

func (a *API) startUpdate(r request) (any, error) {
	stack, update, err := a.pointed(r)
	if err != nil {
		return nil, err
	}
	var wanted apitype.StartUpdateRequest
	if err := r.decode(&wanted); err != nil {
		return nil, err
	}
	if update.Result != string(apitype.NotStartedResult) {
		return nil, busyError{"Conflict: the update has begun already"}
	}
	return a.start(r, stack, update, wanted)
}

func (a *API) start(r request, stack Stack, update Update, wanted apitype.StartUpdateRequest) (apitype.StartUpdateResponse, error) {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	var process string
	if local != nil {
		process = processOf(r.RemoteAddr, local.String())
	}
	version, lease, err := a.store.Begin(r.Context(), update, process)
	if err != nil {
		return apitype.StartUpdateResponse{}, err
	}
	if wanted.Tags != nil {
		if err := a.store.SetTags(r.Context(), stack.ID, wanted.Tags); err != nil {
			return apitype.StartUpdateResponse{}, err
		}
	}
	answer := apitype.StartUpdateResponse{Version: version, Token: lease}
	if a.understands(r) {
		answer.JournalVersion = min(wanted.JournalVersion, apitype.LatestJournalVersion)
	}
	return answer, nil
}

func (a *API) beginUpdate(r request) (any, error) {
	stack, err := a.named(r)
	if err != nil {
		return nil, err
	}
	var wanted apitype.BeginUpdateRequest
	if err := r.decode(&wanted); err != nil {
		return nil, err
	}
	update, err := a.propose(r, stack, wanted.UpdateKind, wanted.Program)
	if err != nil {
		return nil, err
	}
	started, err := a.start(r, stack, update, wanted.StartUpdateRequest)
	if err != nil {
		return nil, err
	}
	if stack, err = a.named(r); err != nil {
		return nil, err
	}
	described, err := a.described(r, stack)
	if err != nil {
		return nil, err
	}
	state, err := a.store.State(r.Context(), stack.ID, -1)
	return apitype.BeginUpdateResponse{
		StartUpdateResponse:   started,
		UpdateProgramResponse: apitype.UpdateProgramResponse{UpdateID: update.ID, Messages: a.messages(r)},
		Deployment:            &state,
		Stack:                 described,
	}, err
}

var clientVersion = regexp.MustCompile(`^pulumi-cli/\S+ \(v?([0-9][^;]*);`)

// asker is the release of the command line that asks.
func asker(r request) (semver.Version, bool) {
	match := clientVersion.FindStringSubmatch(r.UserAgent())
	if match == nil {
		return semver.Version{}, false
	}
	version, err := semver.ParseTolerant(match[1])
	return version, err == nil
}

// understands says whether all that a command line writes to a journal is known to the package that replays it.
//
// A state that passes through the package loses what a later one added to it. So a command line of a later release is
// not offered journals, and keeps whole states, which are stored as they come.
func (a *API) understands(r request) bool {
	version, known := asker(r)
	return known && (version.Major < a.pulumi.Major || version.Major == a.pulumi.Major && version.Minor <= a.pulumi.Minor)
}

func (a *API) messages(r request) []apitype.Message {
	version, known := asker(r)
	if !known || a.understands(r) {
		return nil
	}
	return []apitype.Message{{Severity: apitype.MessageSeverityWarning, Message: fmt.Sprintf(
		"The server of this state knows Pulumi up to v%d.%d, and this is v%s: whole states are written instead of a "+
			"journal, which takes longer. A later release of the server has both.", a.pulumi.Major, a.pulumi.Minor, version)}}
}

// pointed is the stack and the update that a request's path names.
func (a *API) pointed(r request) (Stack, Update, error) {
	stack, err := a.named(r)
	if err != nil {
		return stack, Update{}, err
	}
	update, err := a.store.Update(r.Context(), stack.ID, r.PathValue("update"))
	return stack, update, err
}

func (a *API) status(r request) (any, error) {
	_, update, err := a.pointed(r)
	status := map[string]apitype.UpdateStatus{
		string(apitype.NotStartedResult): apitype.StatusNotStarted,
		string(apitype.InProgressResult): apitype.StatusRunning,
		string(apitype.SucceededResult):  apitype.StatusSucceeded,
	}[update.Result]
	if status == "" {
		status = apitype.StatusFailed
	}
	results := apitype.UpdateResults{Status: status, Events: []apitype.UpdateEvent{}}
	if !update.Ended.Valid {
		more := "more"
		results.ContinuationToken = &more
	}
	return results, err
}

func (a *API) cancel(r request) (any, error) {
	_, update, err := a.pointed(r)
	if err != nil {
		return nil, err
	}
	if update.Ended.Valid {
		return nil, busyError{"Conflict: The update has already completed"}
	}
	return nil, a.store.Cancel(r.Context(), update)
}

func (a *API) renew(r request) (any, error) {
	expires, err := a.store.Renew(r.Context(), r.PathValue("update"), r.lease)
	return apitype.RenewUpdateLeaseResponse{Token: r.lease, TokenExpiration: expires}, err
}

func (a *API) journal(r request) (any, error) {
	var batch apitype.JournalEntries
	if err := r.decode(&batch); err != nil {
		return nil, err
	}
	if err := checkEntries(batch.Entries); err != nil {
		return nil, statusError{http.StatusBadRequest, "Bad Request: " + err.Error()}
	}
	if len(batch.Entries) == 0 {
		return nil, nil
	}
	packed := r.body
	if r.Header.Get("Content-Encoding") != "gzip" {
		packed = pack(packed)
	}
	return nil, a.store.Append(r.Context(), r.PathValue("update"), r.lease, batch.Entries[0].SequenceID, packed)
}

func pack(body []byte) []byte {
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	_, _ = writer.Write(body) // A buffer takes all.
	_ = writer.Close()
	return packed.Bytes()
}

func (a *API) checkpoint(r request) (any, error) {
	var wanted apitype.PatchUpdateCheckpointRequest
	if err := r.decode(&wanted); err != nil {
		return nil, err
	}
	state := apitype.UntypedDeployment{Version: wanted.Version, Features: wanted.Features, Deployment: wanted.Deployment}
	return nil, a.store.SaveWhole(r.Context(), r.PathValue("update"), r.lease, state)
}

// events takes of what the engine tells only what history shows.
func (a *API) events(r request) (any, error) {
	body, err := r.unpacked()
	if err != nil || !bytes.Contains(body, []byte(`"summaryEvent"`)) {
		return nil, err
	}
	var batch struct {
		Events []struct {
			Summary *struct {
				Changes map[apitype.OpType]int `json:"resourceChanges"`
			} `json:"summaryEvent"`
		} `json:"events"`
	}
	if err := json.Unmarshal(body, &batch); err != nil {
		return nil, statusError{http.StatusBadRequest, "Bad Request: " + err.Error()}
	}
	for _, event := range batch.Events {
		if event.Summary != nil {
			err = errors.Join(err, a.store.NoteChanges(r.Context(), r.PathValue("update"), r.lease, event.Summary.Changes))
		}
	}
	return nil, err
}

func (a *API) complete(r request) (any, error) {
	var wanted apitype.CompleteUpdateRequest
	if err := r.decode(&wanted); err != nil {
		return nil, err
	}
	result := apitype.FailedResult
	if wanted.Status == apitype.UpdateStatusSucceeded {
		result = apitype.SucceededResult
	}
	return nil, a.store.Complete(r.Context(), r.PathValue("update"), r.lease, result)
}
